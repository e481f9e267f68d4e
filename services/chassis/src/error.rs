//! Errors as callers see them. A service keeps a `thiserror` enum of its own that
//! implements [`Explain`]; [`status`] is the one place where it becomes a
//! [`tonic::Status`].

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{bus::Foreign, request};

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "agora";

/// How an error is told to a caller.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The gRPC code.
    pub code: Code,
    /// The reason in UPPER_SNAKE, for programs.
    pub reason: &'static str,
    /// More for programs, such as the winner of two decisions.
    pub metadata: Vec<(&'static str, String)>,
    /// Every field that is wrong.
    pub violations: Vec<Violation>,
    /// When a retry makes sense; for overload and outage.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault with a code and a reason and nothing else.
    pub fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason, metadata: Vec::new(), violations: Vec::new(), retry_after: None }
    }

    /// With one more entry for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// With the time after which a retry makes sense.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}

/// One field that is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, as in the proto: `attribution.author_id`.
    pub field: String,
    /// What is wrong, with the limit.
    pub description: String,
}

/// An error that can be told to a caller.
pub trait Explain: std::error::Error {
    /// Its code, reason and details. The message is the error's own text.
    fn fault(&self) -> Fault;
}

/// The errors that every service can answer with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// At least one field is wrong.
    #[error("invalid request: {}", summary(.0))]
    Invalid(Vec<Violation>),
    /// The page token is not one of ours, or belongs to another query.
    #[error("invalid page token")]
    PageToken,
    /// A token is needed, and none was given.
    #[error("a bearer token is needed")]
    TokenMissing,
    /// The token does not verify.
    #[error("invalid token: {0}")]
    TokenInvalid(String),
    /// The token is valid and its roles do not suffice.
    #[error("permission {permission} is needed on site {site}")]
    PermissionDenied {
        /// The permission, in lower case.
        permission: String,
        /// The site; `*` for all.
        site: String,
    },
    /// The same request id came with another request.
    #[error("request_id was used before for another request")]
    RequestIdReused,
    /// What the caller asked to include has not arrived here in time.
    #[error("position {wanted} is not reached; this service is at {reached}")]
    PositionNotReached {
        /// The position that was asked for.
        wanted: String,
        /// The position that was there at the end.
        reached: String,
    },
    /// The request took longer than it may.
    #[error("deadline exceeded")]
    DeadlineExceeded,
    /// More is waiting than a queue may hold.
    #[error("too many requests wait: {0}")]
    Overloaded(&'static str),
    /// Writes wait until the journal was compared with its stream.
    #[error("writes wait until the journal is compared with its stream: {0}")]
    NotCompared(String),
    /// The journal and the stream differ; writes have stopped.
    #[error("writes have stopped: {0}")]
    Halted(String),
    /// The stream is not this installation's.
    #[error(transparent)]
    Foreign(Foreign),
    /// The database does not answer, or the outcome of a commit is unknown.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// NATS does not answer, or the stream does not.
    #[error("the bus is unavailable")]
    BusUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// A defect of this program, or data that it cannot read.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn summary(violations: &[Violation]) -> String {
    let each =
        violations.iter().map(|violation| format!("{} {}", violation.field, violation.description));
    each.collect::<Vec<_>>().join("; ")
}

impl Error {
    /// One wrong field.
    pub fn invalid(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation { field: field.into(), description: description.into() }])
    }

    /// A defect, with its cause.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl Explain for Error {
    fn fault(&self) -> Fault {
        let soon = Duration::from_secs(1);
        match self {
            Self::Invalid(violations) => Fault {
                violations: violations.clone(),
                ..Fault::new(Code::InvalidArgument, "INVALID_FIELDS")
            },
            Self::PageToken => Fault {
                violations: vec![Violation {
                    field: "page_token".into(),
                    description: "must be a token of an earlier answer to the same query".into(),
                }],
                ..Fault::new(Code::InvalidArgument, "INVALID_PAGE_TOKEN")
            },
            Self::TokenMissing => Fault::new(Code::Unauthenticated, "TOKEN_MISSING"),
            Self::TokenInvalid(_) => Fault::new(Code::Unauthenticated, "TOKEN_INVALID"),
            Self::PermissionDenied { permission, site } => {
                Fault::new(Code::PermissionDenied, "PERMISSION_DENIED")
                    .with("permission", permission)
                    .with("site", site)
            }
            Self::RequestIdReused => Fault {
                violations: vec![Violation {
                    field: "request_id".into(),
                    description: "was used before for another request".into(),
                }],
                ..Fault::new(Code::InvalidArgument, "REQUEST_ID_REUSED")
            },
            Self::PositionNotReached { wanted, reached } => {
                Fault::new(Code::DeadlineExceeded, "POSITION_NOT_REACHED")
                    .with("wanted", wanted)
                    .with("reached", reached)
                    .retry_after(soon)
            }
            Self::DeadlineExceeded => Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            Self::Overloaded(_) => {
                Fault::new(Code::ResourceExhausted, "OVERLOADED").retry_after(soon)
            }
            Self::NotCompared(_) => {
                Fault::new(Code::Unavailable, "JOURNAL_NOT_COMPARED").retry_after(soon)
            }
            Self::Halted(_) => {
                Fault::new(Code::Unavailable, "WRITES_HALTED").retry_after(Duration::from_secs(30))
            }
            Self::Foreign(foreign) => Fault::new(Code::FailedPrecondition, "STREAM_FOREIGN")
                .with("installation", foreign.theirs.as_deref().unwrap_or_default()),
            Self::Unavailable(_) => {
                Fault::new(Code::Unavailable, "DATABASE_UNAVAILABLE").retry_after(soon)
            }
            Self::BusUnavailable(_) => {
                Fault::new(Code::Unavailable, "BUS_UNAVAILABLE").retry_after(soon)
            }
            Self::ShuttingDown => Fault::new(Code::Unavailable, "SHUTTING_DOWN").retry_after(soon),
            Self::Internal(_) => Fault::new(Code::Internal, "INTERNAL"),
        }
    }
}

/// The status of an error: its message, and its details as `google.rpc` types. A
/// fault of this side is logged here, once, with its chain of causes.
pub fn status(error: impl Explain) -> Status {
    let fault = error.fault();
    if matches!(fault.code, Code::Internal | Code::Unavailable | Code::Unknown | Code::DataLoss) {
        let (reason, error) = (fault.reason, chain(&error));
        request::with_request(|rpc, site| {
            tracing::error!(rpc, site, reason, error, "request failed");
        });
    }

    let metadata: HashMap<String, String> =
        fault.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(fault.reason, DOMAIN, metadata);
    if !fault.violations.is_empty() {
        let violations = fault
            .violations
            .into_iter()
            .map(|violation| FieldViolation::new(violation.field, violation.description));
        details.set_bad_request(violations.collect::<Vec<_>>());
    }
    if let Some(delay) = fault.retry_after {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(fault.code, error.to_string(), details)
}

/// A code in UPPER_SNAKE, as in metrics, logs and reasons.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// An error and all its causes in one line. Errors of others, that say their causes
/// themselves, say them once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.ends_with(&cause) { line } else { format!("{line}: {cause}") }
    })
}
