use std::{sync::Arc, time::Instant};

use http::HeaderMap;
use tonic::Code;
use tracing::{Span, field::Empty};

use super::rpc::Rpc;
use crate::{error::code_name, telemetry};

/// Where a caller puts its trace context.
const TRACEPARENT: &str = "traceparent";

/// Follows one request from its head to the end of its answer: a span, a line of the
/// log, metrics. A request that nobody waits for any more ends as CANCELLED.
pub(super) struct Observation {
    rpc: Arc<Rpc>,
    span: Span,
    started: Instant,
    is_ended: bool,
}

impl Observation {
    pub(super) fn begin(rpc: Arc<Rpc>, headers: &HeaderMap) -> Self {
        // At DEBUG the span costs nothing unless traces or debug logs are wanted.
        let span = tracing::debug_span!(
            "request",
            otel.name = rpc.method.rpc,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = rpc.method.rpc,
            rpc.response.status_code = Empty,
            "error.type" = Empty,
            agora.site = Empty,
        );
        if !span.is_disabled()
            && let Some(parent) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok())
        {
            telemetry::span_parent(&span, parent);
        }
        Self { rpc, span, started: Instant::now(), is_ended: false }
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Notes how the request was answered.
    pub(super) fn end(mut self, code: Code) {
        self.note(code);
    }

    fn note(&mut self, code: Code) {
        self.is_ended = true;
        let duration = self.started.elapsed();
        if let Some(histogram) = &self.rpc.duration {
            histogram.record(duration);
        }
        self.rpc.count(code);

        let (rpc, duration_ms) = (self.rpc.method.rpc.as_str(), duration.as_secs_f64() * 1_000.0);
        let code_name = code_name(code);
        self.span.record("rpc.response.status_code", code_name);
        let fault = Fault::of(code);
        if fault != Fault::None {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("error.type", code_name);
        }
        // A span ends when it was left last.
        self.span.in_scope(|| ());
        // What was a fault was logged with its causes where it was handled; this line says
        // which request it was.
        if fault == Fault::Ours {
            tracing::info!(parent: &self.span, rpc, code = code_name, duration_ms, "request ended");
        } else {
            tracing::debug!(parent: &self.span, rpc, code = code_name, duration_ms, "request ended");
        }
    }
}

/// Whether an answer is an error of this side, in traces and in logs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// What callers do wrong is no fault of this side.
    None,
    /// A trace shows it. Logs do not: callers cause as many as they like.
    Counted,
    Ours,
}

impl Fault {
    /// Those that are errors of a server by OpenTelemetry's conventions, and overload.
    const fn of(code: Code) -> Self {
        match code {
            Code::Unknown
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Ours,
            Code::ResourceExhausted | Code::Unimplemented => Self::Counted,
            Code::Ok
            | Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unauthenticated => Self::None,
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.is_ended {
            self.note(Code::Cancelled);
        }
    }
}
