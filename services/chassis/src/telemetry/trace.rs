use std::time::Duration;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{FilterFn, filter_fn};

use super::TelemetryError;

/// How long the traces that wait may take to be sent at the end.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// The only version of the W3C trace context that there is.
const VERSION: &str = "00";

/// What sends traces to an endpoint.
pub(super) fn provider(
    endpoint: Option<&str>,
    service: &str,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let Some(endpoint) = endpoint else { return Ok(None) };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
    let exporter = exporter
        .map_err(|source| TelemetryError::Endpoint { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder().with_service_name(service.to_owned()).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
    Ok(Some(provider.with_resource(resource).build()))
}

/// Our own spans and events; those of libraries would be the most of every trace.
pub(super) fn filter() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| {
        let target = metadata.target();
        let ours = target.starts_with("agora") || target.starts_with("chassis");
        ours && *metadata.level() <= Level::DEBUG
    })
}

/// The W3C trace context of the current span, such as
/// `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`; empty if it is not
/// traced.
pub fn traceparent() -> String {
    let span = Span::current();
    if span.is_disabled() {
        return String::new();
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    if !context.is_valid() || !context.is_sampled() {
        return String::new();
    }
    format!(
        "{VERSION}-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags().to_u8()
    )
}

/// Makes a span, which was not entered yet, a child of the one that a W3C trace
/// context names. An empty or unreadable one changes nothing.
pub fn span_parent(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    if let Some(context) = remote_context(traceparent) {
        // It fails where nothing is traced, and then there is nothing to be a child of.
        span.set_parent(context).ok();
    }
}

/// The context that a W3C trace context names.
fn remote_context(traceparent: &str) -> Option<Context> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != VERSION || parts.next().is_some() || trace.len() != 32 || span.len() != 16 {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        flags,
        true,
        TraceState::NONE,
    );
    context.is_valid().then(|| Context::new().with_remote_span_context(context))
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn one_trace_goes_on_over_processes() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("call");
            span_parent(&span, PARENT);
            let here = span.in_scope(traceparent);
            assert_eq!(here[..36], PARENT[..36], "the same trace");
            assert_ne!(here[36..52], PARENT[36..52], "another span");
            assert!(here.ends_with("-01"));

            let next = tracing::info_span!("apply");
            span_parent(&next, &here);
            assert_eq!(next.in_scope(traceparent)[..36], PARENT[..36]);
        });
    }

    #[test]
    fn nothing_is_traced_without_an_endpoint() {
        let span = tracing::info_span!("call");
        span_parent(&span, PARENT);
        assert_eq!(span.in_scope(traceparent), "");
    }

    #[test]
    fn unreadable_contexts_are_none() {
        assert!(remote_context(PARENT).is_some());
        for text in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-xx",
        ] {
            assert!(remote_context(text).is_none(), "{text}");
        }
    }
}
