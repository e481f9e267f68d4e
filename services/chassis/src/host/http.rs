use std::{future::ready, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{allowed::Hosts, health::Parts};
use crate::telemetry::{self, Samples};

/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/livez`, `/readyz` and `/metrics` until the process ends.
pub(super) async fn serve(
    listener: TcpListener,
    parts: Parts,
    hosts: Arc<Hosts>,
    samples: Samples,
    ended: CancellationToken,
) -> std::io::Result<()> {
    let metrics = move || ready(([(header::CONTENT_TYPE, METRICS)], telemetry::render(&samples)));
    let router = Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(parts)
        .layer(from_fn_with_state(hosts, check_host));
    let serving = axum::serve(listener, router).into_future();
    // It answers until the very end, so its connections are cut, not drained.
    ended.run_until_cancelled(serving).await.unwrap_or(Ok(()))
}

async fn readyz(State(parts): State<Parts>) -> Response {
    let (is_ready, report) = parts.report();
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, report).into_response()
}

async fn check_host(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    match hosts.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => (StatusCode::FORBIDDEN, format!("{error}\n")).into_response(),
    }
}
