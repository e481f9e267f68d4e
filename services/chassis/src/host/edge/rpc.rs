use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use metrics::{Counter, Histogram};
use tonic::Code;

use crate::auth::Method;

/// How many gRPC codes there are.
const CODES: usize = 17;
/// The name of all methods that there are not: the names that callers make up must not
/// become metrics.
const UNKNOWN: &str = "unknown";

/// A method and its metrics.
pub(super) struct Rpc {
    pub(super) method: Method,
    /// `agora_request_duration_seconds`.
    pub(super) duration: Histogram,
    /// `agora_requests_total` by code, made when they are first needed.
    counters: [OnceLock<Counter>; CODES],
}

impl Rpc {
    fn new(method: Method) -> Arc<Self> {
        let duration = metrics::histogram!(
            "agora_request_duration_seconds",
            "rpc" => method.rpc.clone()
        );
        Arc::new(Self { method, duration, counters: Default::default() })
    }

    /// Counts an answer.
    pub(super) fn count(&self, code: Code) {
        let counter = self.counters[code as usize].get_or_init(|| {
            let rpc = self.method.rpc.clone();
            metrics::counter!("agora_requests_total", "rpc" => rpc, "code" => name(code))
        });
        counter.increment(1);
    }
}

/// The methods of a server.
pub(in crate::host) struct Rpcs {
    by_name: HashMap<String, Arc<Rpc>>,
    unknown: Arc<Rpc>,
}

impl Rpcs {
    pub(in crate::host) fn new(methods: Vec<Method>) -> Self {
        let rpcs = methods.into_iter().map(|method| (method.rpc.clone(), Rpc::new(method)));
        let unknown = Method { rpc: UNKNOWN.into(), permission: None, is_stream: false };
        Self { by_name: rpcs.collect(), unknown: Rpc::new(unknown) }
    }

    /// The method of a path.
    pub(super) fn find(&self, path: &str) -> &Arc<Rpc> {
        let name = path.strip_prefix('/').unwrap_or(path);
        self.by_name.get(name).unwrap_or(&self.unknown)
    }
}

/// A code in UPPER_SNAKE, as in metrics, logs and reasons.
pub(super) const fn name(code: Code) -> &'static str {
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
