use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use tonic::{
    Code,
    body::Body,
    transport::{Channel, Error},
};
use tower::Service;
use tracing::{Instrument as _, Span, field::Empty};

use super::Target;
use crate::{error::code_name, telemetry};

/// Where a trace is told to whom is called.
const TRACEPARENT: &str = "traceparent";
/// How a call was answered, if it stands in the head of the answer: errors do.
const GRPC_STATUS: &str = "grpc-status";

/// A channel whose calls are part of the trace that they are made in. The span of a call ends
/// with the head of its answer.
#[derive(Clone, Debug)]
pub struct Traced {
    channel: Channel,
    host: Arc<str>,
    port: u16,
}

impl Traced {
    pub(super) fn new(channel: Channel, target: &Target) -> Self {
        Self { channel, host: target.host.as_str().into(), port: target.port }
    }

    fn span(&self, path: &str) -> Span {
        let method = path.trim_start_matches('/');
        tracing::debug_span!(
            "call",
            otel.name = method,
            otel.kind = "client",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
            "error.type" = Empty,
            server.address = &*self.host,
            server.port = self.port,
        )
    }
}

impl Service<Request<Body>> for Traced {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let span = self.span(request.uri().path());
        if let Ok(here) = HeaderValue::try_from(span.in_scope(telemetry::traceparent))
            && !here.is_empty()
        {
            request.headers_mut().insert(TRACEPARENT, here);
        }
        let answer = self.channel.call(request).instrument(span.clone());
        Box::pin(async move {
            let answer = answer.await;
            let code = match &answer {
                Ok(answer) => answer.headers().get(GRPC_STATUS).map_or(Code::Ok, code),
                Err(_) => Code::Unavailable,
            };
            span.record("rpc.response.status_code", code_name(code));
            if code != Code::Ok {
                // Whatever it is, whoever called does not get what it wanted.
                span.record("otel.status_code", "ERROR");
                span.record("error.type", code_name(code));
            }
            answer
        })
    }
}

fn code(status: &HeaderValue) -> Code {
    Code::from_bytes(status.as_bytes())
}
