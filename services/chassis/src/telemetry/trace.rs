use std::{fs, io, path::PathBuf, time::Duration};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use uuid::Uuid;

use super::export::Export;
use crate::{config, version::PROGRAM};

/// How long the traces that wait may take to be sent at the end.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// What happened longer ago is a replay: its trace has ended, and nothing is added to it.
pub const REPLAY_AGE: Duration = Duration::from_secs(60);
/// How many other traces a span links to at most.
pub(super) const MAX_LINKS: u32 = 1_024;
/// How many other traces the span of a replay links to at most: nobody waits for them.
const MAX_REPLAY_LINKS: usize = 32;
/// The only version of the W3C trace context that there is.
const VERSION: &str = "00";
/// What a PEM file with a certificate holds.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Why no traces are sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it does not begin with http:// or https://")]
    Scheme,
    #[error("cannot read telemetry.otlp_ca_file {0}")]
    Authorities(PathBuf, #[source] io::Error),
    #[error("telemetry.otlp_ca_file {0} holds no certificate in PEM")]
    NoCertificate(PathBuf),
    #[error(transparent)]
    Endpoint(#[from] ExporterBuildError),
}

/// What sends traces to an endpoint.
pub(super) fn provider(
    endpoint: &str,
    settings: &config::Telemetry,
    service: &str,
) -> Result<SdkTracerProvider, Unusable> {
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    if endpoint.starts_with("https://") {
        exporter = exporter.with_tls_config(tls(settings)?);
    } else if !endpoint.starts_with("http://") {
        return Err(Unusable::Scheme);
    }
    let exporter = Export::new(exporter.build()?, endpoint);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_max_links_per_span(MAX_LINKS)
        .with_resource(resource(service));
    Ok(provider.build())
}

/// Whom an endpoint is trusted by.
fn tls(settings: &config::Telemetry) -> Result<ClientTlsConfig, Unusable> {
    let Some(path) = &settings.otlp_ca_file else {
        return Ok(ClientTlsConfig::new().with_webpki_roots());
    };
    let pem = fs::read(path).map_err(|error| Unusable::Authorities(path.clone(), error))?;
    if !pem.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE) {
        return Err(Unusable::NoCertificate(path.clone()));
    }
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

/// Who sends the traces. `OTEL_RESOURCE_ATTRIBUTES` may say more, such as the instance.
fn resource(service: &str) -> Resource {
    const INSTANCE: &str = "service.instance.id";
    let detected = Resource::builder().build();
    let known = detected.iter().any(|(key, _)| key.as_str() == INSTANCE);
    let instance = (!known).then(|| KeyValue::new(INSTANCE, Uuid::now_v7().to_string()));
    Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("service.version", PROGRAM))
        .with_attributes(instance)
        .build()
}

/// Our own spans and events; those of libraries would be the most of every trace.
pub(super) fn filter() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| {
        let target = metadata.target();
        let ours = ["agora", "chassis", "eventstore"].iter().any(|own| target.starts_with(own));
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
        span.set_parent(Context::new().with_remote_span_context(context)).ok();
    }
}

/// Has a span of a batch name the traces that what is in it belongs to, by W3C trace
/// contexts of which many may be empty. The number of links is bounded.
pub fn span_links<'t>(
    span: &Span,
    traceparents: impl IntoIterator<Item = &'t str>,
    is_replay: bool,
) {
    if span.is_disabled() {
        return;
    }
    let most = if is_replay { MAX_REPLAY_LINKS } else { MAX_LINKS as usize };
    let mut last = "";
    let mut links = 0;
    for traceparent in traceparents {
        // One request may have made several events, which follow each other.
        if traceparent == last || links == most {
            continue;
        }
        last = traceparent;
        if let Some(context) = remote_context(traceparent) {
            span.add_link(context);
            links += 1;
        }
    }
}

/// The span that a W3C trace context names.
fn remote_context(traceparent: &str) -> Option<SpanContext> {
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
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::{super::kept::spans_of, *};

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
    fn the_links_of_a_span_are_bounded() {
        let mut traces = vec![String::new(), "not one".to_owned()];
        for n in 1..=2 * MAX_LINKS {
            let made_by_one_request = format!("00-{n:032x}-b7ad6b7169203331-01");
            traces.extend([made_by_one_request.clone(), made_by_one_request]);
        }
        let spans = spans_of(|| {
            for is_replay in [false, true] {
                let span = tracing::info_span!("consume");
                span_links(&span, traces.iter().map(String::as_str), is_replay);
            }
        });
        let links: Vec<usize> = spans.iter().map(|span| span.links.len()).collect();
        assert_eq!(links, [MAX_LINKS as usize, MAX_REPLAY_LINKS]);
        let first: Vec<_> =
            spans[0].links.iter().map(|link| link.span_context.trace_id()).collect();
        assert_eq!(first[..2], [TraceId::from(1_u128), TraceId::from(2_u128)], "each once");
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
