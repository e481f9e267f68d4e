use std::{collections::VecDeque, future::IntoFuture as _, pin::Pin};

use async_nats::jetstream::{context::PublishError, message::PublishMessage, publish::PublishAck};
use bus_schema::{DecodeError, Event, Sequence, Stream, Subject};
use bytes::Bytes;
use tracing::{Span, field::Empty};

use super::stream::Remote;
use crate::journal::Row;
use chassis::{failpoint, telemetry};

/// How many messages are on their way at the same time at most.
const WINDOW: usize = 512;

/// The stream's answer to a message.
type Answer = Pin<Box<dyn Future<Output = Result<PublishAck, PublishError>> + Send>>;

/// Publishes rows in order, pipelined and each fenced with the sequence before it.
pub(super) struct Publisher<'r> {
    remote: &'r Remote,
    on_their_way: VecDeque<Sent>,
}

/// A message that was not answered yet.
struct Sent {
    sequence: Sequence,
    answer: Answer,
    /// It ends with the answer.
    span: Span,
}

/// Why publishing has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("event {0} was not stored")]
    Publish(Sequence, #[source] PublishError),
    #[error("event {0} was stored as message {1}")]
    Misplaced(Sequence, u64),
    #[error("event {0} of the journal cannot be read")]
    Unreadable(Sequence, #[source] DecodeError),
}

impl<'r> Publisher<'r> {
    pub(super) const fn new(remote: &'r Remote) -> Self {
        Self { remote, on_their_way: VecDeque::new() }
    }

    /// Whether answers are missing.
    pub(super) fn is_waiting(&self) -> bool {
        !self.on_their_way.is_empty()
    }

    /// Sends one row, after waiting for the oldest answer if too many are missing.
    pub(super) async fn send(&mut self, row: &Row) -> Result<(), Failed> {
        if self.on_their_way.len() >= WINDOW {
            self.settle_one().await?;
        }
        let (subject, event) =
            address(row.event.clone()).map_err(|error| Failed::Unreadable(row.sequence, error))?;
        let mut message = PublishMessage::build()
            .payload(row.event.clone())
            .header(Stream::HASH_HEADER, row.hash.to_hex());
        if !failpoint!(PublishWithoutTheFence) {
            message = message.expected_last_sequence(row.sequence.0 - 1);
        }
        let mut span = Span::none();
        if let Some(event) = event.filter(|event| !event.traceparent.is_empty()) {
            span = self.span(&event, &subject, row);
            let here = span.in_scope(telemetry::traceparent);
            let traceparent = if here.is_empty() { &event.traceparent } else { &here };
            message = message.header(Stream::TRACE_HEADER, traceparent.as_str());
        }
        let answer = self
            .remote
            .jetstream()
            .send_publish(subject.to_string(), message)
            .await
            .map_err(|error| Failed::Publish(row.sequence, error))?;
        let (sequence, answer) = (row.sequence, Box::pin(answer.into_future()));
        self.on_their_way.push_back(Sent { sequence, answer, span });
        Ok(())
    }

    /// The span of a message, from when it is sent until it is answered. What is published
    /// again, as when a stream is refilled, is no part of the trace that made the event.
    fn span(&self, event: &Event, subject: &Subject, row: &Row) -> Span {
        if event.time.elapsed() > telemetry::REPLAY_AGE {
            return Span::none();
        }
        let span = tracing::debug_span!(
            "publish",
            otel.name = %format_args!("publish {}", self.remote.name()),
            otel.kind = "producer",
            otel.status_code = Empty,
            messaging.system = "nats",
            "messaging.operation.type" = "send",
            messaging.operation.name = "publish",
            messaging.destination.name = %subject,
            messaging.message.id = %event.id,
            messaging.message.body.size = row.event.len(),
            sequence = row.sequence.0,
        );
        telemetry::span_parent(&span, &event.traceparent);
        span
    }

    /// Waits for the oldest answer; to be dropped while it waits does no harm.
    pub(super) async fn settle_one(&mut self) -> Result<(), Failed> {
        let Some(Sent { sequence, answer, span }) = self.on_their_way.front_mut() else {
            return Ok(());
        };
        let sequence = *sequence;
        let settled = match answer.await {
            Ok(stored) if stored.sequence == sequence.0 => Ok(()),
            Ok(stored) => Err(Failed::Misplaced(sequence, stored.sequence)),
            Err(error) => Err(Failed::Publish(sequence, error)),
        };
        if settled.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        // A span ends when it was left last.
        span.in_scope(|| ());
        self.on_their_way.pop_front();
        settled
    }
}

/// Where an event is published, and the event. A newer program may have written events of a
/// type that this one does not know, before it was rolled back or beside this one: they are
/// as much the journal's as all others, and what follows them must not wait.
fn address(bytes: Bytes) -> Result<(Subject, Option<Event>), DecodeError> {
    match Event::decode(bytes.clone()) {
        Ok(event) => Ok((Subject::of(&event), Some(event))),
        Err(DecodeError::UnknownType { .. }) => Ok((Subject::of_unknown(bytes)?, None)),
        Err(error) => Err(error),
    }
}
