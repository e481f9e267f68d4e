use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use metrics::{Counter, Histogram, Unit};
use tonic::Code;

use crate::{auth::Method, error::code_name};

/// How many gRPC codes there are.
const CODES: usize = 17;
/// The codes whose counters are there from the start: the first failure of a method must be
/// seen as a step from 0. They are those of success and of this side's faults.
const COUNTED_FROM_THE_START: [Code; 7] = [
    Code::Ok,
    Code::Unknown,
    Code::DeadlineExceeded,
    Code::ResourceExhausted,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
];
/// The name of all methods that there are not: the names that callers make up must not
/// become metrics.
const UNKNOWN: &str = "unknown";

/// A method and its metrics.
pub(super) struct Rpc {
    pub(super) method: Method,
    /// The method's name, for every request to hold.
    pub(super) name: Arc<str>,
    /// `agora_request_duration_seconds`; not of streams, which last as long as they are wanted.
    pub(super) duration: Option<Histogram>,
    /// `agora_requests_total` by code, made when they are first needed.
    counters: [OnceLock<Counter>; CODES],
}

impl Rpc {
    fn new(method: Method) -> Arc<Self> {
        let duration = (!method.is_stream).then(
            || metrics::histogram!("agora_request_duration_seconds", "rpc" => method.rpc.clone()),
        );
        let name = method.rpc.as_str().into();
        let rpc = Self { method, name, duration, counters: Default::default() };
        for code in COUNTED_FROM_THE_START {
            rpc.counter(code);
        }
        Arc::new(rpc)
    }

    /// Counts an answer.
    pub(super) fn count(&self, code: Code) {
        self.counter(code).increment(1);
    }

    fn counter(&self, code: Code) -> &Counter {
        self.counters[code as usize].get_or_init(|| {
            let rpc = self.method.rpc.clone();
            metrics::counter!("agora_requests_total", "rpc" => rpc, "code" => code_name(code))
        })
    }
}

/// The methods of a server.
pub(in crate::host) struct Rpcs {
    by_name: HashMap<String, Arc<Rpc>>,
    unknown: Arc<Rpc>,
}

impl Rpcs {
    pub(in crate::host) fn new(methods: Vec<Method>) -> Self {
        metrics::describe_counter!(
            "agora_requests_total",
            Unit::Count,
            "How many requests were answered, by method and gRPC code"
        );
        metrics::describe_histogram!(
            "agora_request_duration_seconds",
            Unit::Seconds,
            "How long requests took from their head to the end of their answer, streams aside"
        );
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
