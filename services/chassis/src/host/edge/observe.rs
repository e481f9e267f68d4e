use std::{sync::Arc, time::Instant};

use http::HeaderMap;
use tonic::Code;
use tracing::{Span, field::Empty};

use super::rpc::{Rpc, name};
use crate::telemetry;

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
            rpc = rpc.method.rpc,
            code = Empty,
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
        let code_name = name(code);
        self.span.record("code", code_name);
        // What callers do wrong is no fault of this side. What is one was logged with its
        // causes where it was handled; this line says which request it was.
        if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable) {
            self.span.record("otel.status_code", "ERROR");
            tracing::info!(parent: &self.span, rpc, code = code_name, duration_ms, "request ended");
        } else {
            tracing::debug!(parent: &self.span, rpc, code = code_name, duration_ms, "request ended");
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
