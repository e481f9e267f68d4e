use std::time::Duration;

use async_nats::jetstream::{
    self, Message,
    consumer::{DeliverPolicy, ReplayPolicy, pull},
};
use bus_schema::{Checkpoint, Event, Hash, Source, Stream};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::{Delivery, MAX_READ_AHEAD};

/// Why reading a stream has ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream is not there yet, or NATS is not: to be tried again.
    #[error("cannot read stream {stream}")]
    Unavailable {
        /// Its name.
        stream: &'static str,
        /// Why.
        #[source]
        source: async_nats::Error,
    },
    /// The stream is another one than what was applied here.
    #[error(
        "stream {stream} is not the one that was applied here: its event {sequence} has hash \
         {found}, expected {expected}"
    )]
    Differs {
        /// Its name.
        stream: &'static str,
        /// Where it differs.
        sequence: u64,
        /// The hash that the event has.
        found: Hash,
        /// The hash that it should have.
        expected: Hash,
    },
    /// A message is missing or damaged.
    #[error("stream {stream} is damaged at {sequence}: {what}")]
    Damaged {
        /// Its name.
        stream: &'static str,
        /// Where.
        sequence: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Nobody takes the events any more.
    #[error("stopped")]
    Stopped,
}

/// Reads a source's stream from a checkpoint on, verifies every message and sends it
/// on; ends with an error only.
pub(crate) async fn read(
    jetstream: &jetstream::Context,
    source: Source,
    from: Checkpoint,
    events: &mpsc::Sender<Delivery>,
) -> ReadError {
    let stream = Stream::of(source, 1, -1).name;
    let unavailable = |source: async_nats::Error| ReadError::Unavailable { stream, source };
    let mut messages = match subscribe(jetstream, stream, from).await {
        Ok(messages) => messages,
        Err(error) => return unavailable(error),
    };

    let mut applied = from;
    while let Some(message) = messages.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) => return unavailable(error.into()),
        };
        let delivery = match verify(stream, &message, from, applied) {
            Ok(Some(delivery)) => delivery,
            Ok(None) => continue,
            Err(error) => return error,
        };
        applied = Checkpoint { sequence: delivery.sequence, hash: delivery.hash };
        if events.send(delivery).await.is_err() {
            return ReadError::Stopped;
        }
    }
    unavailable("the subscription has ended".into())
}

/// The events of a source after one checkpoint, up to and with another.
///
/// # Errors
/// [`ReadError`], if they cannot be read, or if the stream holds another event there.
pub async fn read_to(
    jetstream: &jetstream::Context,
    source: Source,
    from: Checkpoint,
    to: Checkpoint,
) -> Result<Vec<Delivery>, ReadError> {
    let (events, mut delivered) = mpsc::channel::<Delivery>(MAX_READ_AHEAD);
    let (mut deliveries, mut applied) = (Vec::new(), from);
    let take = async {
        while applied.sequence < to.sequence
            && let Some(delivery) = delivered.recv().await
        {
            applied = Checkpoint { sequence: delivery.sequence, hash: delivery.hash };
            deliveries.push(delivery);
        }
    };
    tokio::select! {
        biased;
        () = take => {}
        error = read(jetstream, source, from, &events) => return Err(error),
    }
    if applied == to {
        return Ok(deliveries);
    }
    Err(ReadError::Differs {
        stream: Stream::of(source, 1, -1).name,
        sequence: to.sequence.0,
        found: applied.hash,
        expected: to.hash,
    })
}

async fn subscribe(
    jetstream: &jetstream::Context,
    stream: &'static str,
    from: Checkpoint,
) -> Result<pull::Ordered, async_nats::Error> {
    let stream = jetstream.get_stream_no_info(stream).await?;
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.sequence.0.max(1) },
        replay_policy: ReplayPolicy::Instant,
        max_expires: Duration::from_secs(30),
        ..Default::default()
    };
    Ok(stream.create_consumer(config).await?.messages().await?)
}

/// Checks one message against what was applied before it. Nothing is returned for the
/// message at the checkpoint itself, which was applied before.
fn verify(
    stream: &'static str,
    message: &Message,
    from: Checkpoint,
    applied: Checkpoint,
) -> Result<Option<Delivery>, ReadError> {
    let info = message.info().map_err(|source| ReadError::Unavailable { stream, source })?;
    let sequence = info.stream_sequence;
    let damaged = |what| ReadError::Damaged { stream, sequence, what };
    let hash = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get(Stream::HASH_HEADER))
        .and_then(|value| Hash::from_hex(value.as_str()))
        .ok_or_else(|| damaged("it has no Agora-Hash header"))?;

    if sequence == from.sequence.0 {
        if hash != from.hash {
            let (found, expected) = (hash, from.hash);
            return Err(ReadError::Differs { stream, sequence, found, expected });
        }
        return Ok(None);
    }
    if sequence != applied.sequence.next().0 {
        return Err(damaged("messages before it are missing"));
    }
    let expected = applied.hash.chain(&message.payload);
    if hash != expected {
        return Err(ReadError::Differs { stream, sequence, found: hash, expected });
    }
    Ok(Some(Delivery {
        sequence: applied.sequence.next(),
        hash,
        bytes: message.payload.clone(),
        event: Event::decode(message.payload.clone()),
    }))
}
