//! The span of a batch, and what it says of the traces of its events.

use bus_schema::{Event, Source, Stream};
use tracing::{Span, field::Empty};

use crate::delivery::Delivery;
use chassis::telemetry;

/// A span that goes on with the trace of the first event of the batch that has one, and links
/// to those of all. A replay only links, as those traces have ended.
pub(super) fn span(source: Source, deliveries: &[Delivery], replays: bool) -> Span {
    let events = deliveries.iter().filter_map(|delivery| delivery.event.as_deref().ok());
    let traced = events.filter(|event| !event.traceparent.is_empty());
    let Some(first) = traced.clone().next() else { return Span::none() };
    let stream = Stream::of(source, 1, -1).name;
    let span = tracing::debug_span!(
        "consume",
        otel.name = %format_args!("process {stream}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "nats",
        "messaging.operation.type" = "process",
        messaging.operation.name = "process",
        messaging.destination.name = stream,
        messaging.batch.message_count = deliveries.len(),
    );
    if span.is_disabled() {
        return span;
    }
    let is_replay = replays || first.time.elapsed() > telemetry::REPLAY_AGE;
    if !is_replay {
        telemetry::span_parent(&span, &first.traceparent);
    }
    telemetry::span_links(&span, traced.map(|event: &Event| &*event.traceparent), is_replay);
    span
}

#[cfg(test)]
mod tests {
    use bus_schema::{EventId, Hash, Kind, PostId, Sequence, Time, plain};
    use bytes::Bytes;
    use opentelemetry::trace::{SpanId, TraceId};
    use opentelemetry_sdk::trace::SpanData;

    use super::*;
    use chassis::telemetry::kept::spans_of;

    fn delivery(trace: u64, time: Time) -> Delivery {
        let traceparent = match trace {
            0 => String::new(),
            trace => format!("00-{trace:032x}-b7ad6b7169203331-01"),
        };
        let post =
            agora_proto::event::v1::PostUpdated { title: Some(plain("t")), ..Default::default() };
        let event = Event {
            id: EventId::new(),
            source: Source::Post,
            sequence: Sequence(1),
            time,
            actor: "ada".into(),
            request: None,
            site: "blog".parse().unwrap(),
            post_id: Some(PostId::new()),
            aggregate: None,
            traceparent,
            kind: Kind::PostUpdated(post),
        };
        let (sequence, hash, bytes) = (event.sequence, Hash::ZERO, Bytes::new());
        Delivery { sequence, hash, bytes, event: Ok(Box::new(event)) }
    }

    /// What is exported of a batch's span.
    fn exported(deliveries: &[Delivery], replays: bool) -> Option<SpanData> {
        spans_of(|| drop(span(Source::Post, deliveries, replays))).pop()
    }

    fn links(span: &SpanData) -> Vec<TraceId> {
        span.links.iter().map(|link| link.span_context.trace_id()).collect()
    }

    const TWO: [TraceId; 2] =
        [TraceId::from_bytes(2_u128.to_be_bytes()), TraceId::from_bytes(3_u128.to_be_bytes())];

    #[test]
    fn a_batch_links_to_the_traces_of_all_its_events() {
        let now = Time::now();
        let batch = [delivery(0, now), delivery(2, now), delivery(2, now), delivery(3, now)];
        let span = exported(&batch, false).unwrap();
        assert_eq!(span.span_context.trace_id(), TWO[0], "it goes on with the first");
        assert_eq!(links(&span), TWO);
        assert!(exported(&batch[..1], false).is_none(), "nothing is traced");
    }

    #[test]
    fn a_replay_only_links() {
        let old = Time::now().before(2 * telemetry::REPLAY_AGE);
        for (time, replays) in [(old, false), (Time::now(), true)] {
            let span = exported(&[delivery(2, time), delivery(3, time)], replays).unwrap();
            assert!(!TWO.contains(&span.span_context.trace_id()), "it is no part of the trace");
            assert_eq!(span.parent_span_id, SpanId::INVALID);
            assert_eq!(links(&span), TWO);
        }
    }
}
