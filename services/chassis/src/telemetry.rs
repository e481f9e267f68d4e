//! Logs, traces and metrics of a process.
//!
//! Logs go to the standard error. One trace goes from a call through the journal, the
//! relay and every consumer: [`traceparent`] says where one is, [`span_parent`] goes on
//! from there, [`span_links`] names the traces that a batch belongs to.

mod commits;
mod export;
mod json;
#[cfg(any(test, feature = "testing"))]
pub mod kept;
mod prometheus;
mod samples;
mod trace;

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, filter::ParseError, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::config::{self, LogFormat};

pub use commits::Commits;
pub(crate) use prometheus::{install as install_metrics, render, tell_program, upkeep};
pub(crate) use samples::Samples;
pub use trace::{REPLAY_AGE, span_links, span_parent, traceparent};

/// Keeps the telemetry of a process going. When it is dropped, at the end of `main`,
/// the traces that wait are sent; that takes 3 s at most, during which it blocks.
#[must_use = "traces are sent until it is dropped"]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
}

/// Why telemetry cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("telemetry.log must be a filter such as info,chassis=debug")]
    Filter(#[from] ParseError),
    /// It was started before.
    #[error("logs were started before in this process")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logs, and traces if an endpoint is configured, for this process. Call it
/// once, in a Tokio runtime. An endpoint that cannot be used is told and left out: nobody
/// wants to be without a service for want of its traces.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(settings: &config::Telemetry, service: &str) -> Result<Guard, TelemetryError> {
    let filter = EnvFilter::builder().parse(&settings.log)?;
    let endpoint = settings.otlp_endpoint.as_deref();
    let traces = endpoint.map(|endpoint| trace::provider(endpoint, settings, service));
    let (traces, unusable) = match traces.transpose() {
        Ok(traces) => (traces, None),
        Err(unusable) => (None, Some(unusable)),
    };
    let layer = traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("agora"))
            .with_threads(false)
            .with_filter(trace::filter())
    });
    tracing_subscriber::registry()
        .with(layer)
        .with(log_layer(settings.log_format).with_filter(filter))
        .try_init()?;
    log_panics();
    if let Some(unusable) = unusable {
        let error = crate::error::chain(&unusable);
        tracing::warn!(
            endpoint,
            error,
            "telemetry.otlp_endpoint cannot be used: no traces are sent"
        );
    }
    Ok(Guard { traces })
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Auto if is_terminal => layer.boxed(),
        LogFormat::Human => layer.with_ansi(is_terminal).boxed(),
        LogFormat::Auto | LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_span_list(false);
            layer.map_event_format(json::Traced).boxed()
        }
    }
}

/// Has panics logged like everything else, instead of printed beside the logs.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("not a text");
        tracing::error!(location, message, "panic");
    }));
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(traces) = self.traces.take() else { return };
        if let Err(error) = traces.shutdown_with_timeout(trace::FLUSH_TIMEOUT) {
            tracing::warn!(%error, "cannot flush the last spans");
        }
    }
}
