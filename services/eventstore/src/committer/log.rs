use std::collections::BTreeMap;

use bus_schema::{Checkpoint, Event, EventId, RequestMark, Source, Time};

use crate::{
    domain::{Domain, Draft},
    journal::{RequestKey, RequestRow, Row},
};
use chassis::failpoint;

/// The events of one transaction, on their way into the journal.
pub(super) struct Log {
    source: Source,
    pub(super) head: Checkpoint,
    pub(super) events: Vec<Event>,
    pub(super) rows: Vec<Row>,
    pub(super) requests: Vec<RequestRow>,
}

impl Log {
    /// A log that goes on at the journal's head.
    pub(super) const fn new(source: Source, head: Checkpoint) -> Self {
        Self { source, head, events: Vec::new(), rows: Vec::new(), requests: Vec::new() }
    }

    /// Makes a draft the journal's next event: gives it id, sequence, time and hash.
    pub(super) fn append(
        &mut self,
        draft: Draft,
        request: Option<RequestMark>,
        traceparent: String,
        time: Time,
    ) -> &Event {
        let event = Event {
            id: EventId::new(),
            source: self.source,
            sequence: self.head.sequence.next(),
            time,
            actor: draft.actor,
            request,
            site: draft.site,
            post_id: draft.post_id,
            aggregate: draft.aggregate,
            traceparent,
            kind: draft.kind,
        };
        let bytes = event.encode();
        failpoint!(ChainWithoutThePreviousHash => self.head.hash = bus_schema::Hash::ZERO);
        self.head = self.head.extend(&bytes);
        self.push(Row { sequence: self.head.sequence, hash: self.head.hash, event: bytes }, event)
    }

    /// Counts its events, once they are committed.
    pub(super) fn count<D: Domain>(&self) {
        let mut counts = BTreeMap::<&'static str, u64>::new();
        for event in &self.events {
            *counts.entry(D::counted_as(event)).or_default() += 1;
        }
        let source = self.source.as_str();
        for (event, count) in counts {
            metrics::counter!("agora_events_total", "source" => source, "event" => event)
                .increment(count);
        }
    }

    /// Takes over an event that has its place already.
    pub(super) fn push(&mut self, row: Row, event: Event) -> &Event {
        self.head = row.checkpoint();
        if let (Some(key), Some(mark)) = (RequestKey::of(&event), event.request) {
            self.requests.push(RequestRow { key, sequence: row.sequence, hash: mark.hash });
        }
        self.rows.push(row);
        self.events.push(event);
        &self.events[self.events.len() - 1]
    }
}
