use std::fmt;

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::{Event, Subscriber, dispatcher::get_default};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, Writer},
    },
    registry::LookupSpan,
};

/// Lines of JSON that name the trace and the span in which something was logged.
pub(super) struct Traced(pub(super) Format<Json>);

impl<S, N> FormatEvent<S, N> for Traced
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(span) = span_of(event) else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let Some(object) = line.trim_end().strip_suffix('}') else {
            return writer.write_str(&line);
        };
        let (trace_id, span_id) = (span.trace_id(), span.span_id());
        writeln!(writer, r#"{object},"trace_id":"{trace_id}","span_id":"{span_id}"}}"#)
    }
}

/// The traced span in which something happens. What logs shows it or not, as it has a filter
/// of its own: the whole subscriber is asked.
fn span_of(event: &Event<'_>) -> Option<SpanContext> {
    let context = get_default(|subscriber| {
        let span = match event.parent() {
            Some(parent) => Some(parent.clone()),
            None if event.is_contextual() => subscriber.current_span().id().cloned(),
            None => None,
        };
        get_otel_context(&span?, subscriber)
    })?;
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}
