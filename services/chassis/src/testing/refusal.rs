use std::{collections::HashMap, fmt::Debug};

use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::error::DOMAIN;

/// What a caller is told who is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// The reason of the ErrorInfo.
    pub reason: String,
    /// The metadata of the ErrorInfo.
    pub metadata: HashMap<String, String>,
    /// The wrong fields of the BadRequest, in their order.
    pub fields: Vec<String>,
    /// Whether it says when to retry.
    pub is_retryable: bool,
}

impl Refusal {
    /// The refusal in an answer.
    ///
    /// # Panics
    /// If the answer is none, or if it has no ErrorInfo of Agora's.
    pub fn of<T: Debug>(answer: Result<Response<T>, Status>) -> Self {
        let status = answer.expect_err("it is to be refused");
        let info = status.get_details_error_info();
        let info = info.unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, DOMAIN);
        let request = status.get_details_bad_request();
        let violations = request.map(|request| request.field_violations).unwrap_or_default();
        Self {
            code: status.code(),
            reason: info.reason,
            metadata: info.metadata,
            fields: violations.into_iter().map(|violation| violation.field).collect(),
            is_retryable: status.get_details_retry_info().is_some(),
        }
    }

    /// Code and reason, for what has nothing else to say.
    pub fn what(&self) -> (Code, &str) {
        (self.code, &self.reason)
    }
}
