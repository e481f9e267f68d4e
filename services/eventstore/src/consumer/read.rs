use std::time::Duration;

use async_nats::jetstream::{
    Message,
    consumer::{DeliverPolicy, ReplayPolicy, pull},
    stream,
};
use bus_schema::{Checkpoint, Hash, Source, Stream};
use futures::StreamExt as _;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{MAX_CHUNK, MAX_READ_AHEAD};
use crate::{Position, delivery::Delivery, journal::Row, relay::Remote};
use chassis::{
    Bus,
    bus::{Foreign, StreamError},
};

/// After this time a stream that says nothing is looked at.
const SILENCE: Duration = Duration::from_secs(3);
/// How often it is asked whose stream it is, even if events come: it may be deleted, and made by
/// somebody else under its name, and the subscription goes on with that.
const ASK_EVERY: Duration = Duration::from_secs(10);

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
    /// The stream is not this installation's.
    #[error(transparent)]
    Foreign(Foreign),
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
    /// The stream ends before what was applied here.
    #[error("stream {stream} ends with {last}, before {applied}, which was applied here")]
    Behind {
        /// Its name.
        stream: &'static str,
        /// Where it ends.
        last: u64,
        /// What was applied.
        applied: u64,
    },
    /// The stream is not what it was; its owner's journal was read instead, for a while.
    #[error("the events were taken from the owner of stream {stream}")]
    Replaced {
        /// Its name.
        stream: &'static str,
        /// What is wrong with the stream.
        #[source]
        why: Box<ReadError>,
    },
    /// The owner's journal lacks what was applied here.
    #[error("the owner of stream {stream} lacks what was applied here, up to {applied}")]
    Ahead {
        /// Its name.
        stream: &'static str,
        /// What was applied.
        applied: u64,
    },
    /// Nobody takes the events any more.
    #[error("stopped")]
    Stopped,
}

impl ReadError {
    /// Whether the stream is not what it should be, so that its owner is to be asked.
    pub(super) const fn is_of_stream(&self) -> bool {
        matches!(self, Self::Differs { .. } | Self::Damaged { .. } | Self::Behind { .. })
    }
}

/// Reads a source's stream from a checkpoint on, verifies every message and sends it
/// on; ends with an error only. The checkpoint goes on with what was sent.
pub(crate) async fn read(
    bus: &Bus,
    source: Source,
    applied: &mut Checkpoint,
    events: &mpsc::Sender<Vec<Delivery>>,
) -> ReadError {
    let stream = name(source);
    let unavailable = |source: async_nats::Error| ReadError::Unavailable { stream, source };
    let from = *applied;
    let mut chunks = match subscribe(bus, source, from).await {
        Ok(messages) => messages.ready_chunks(MAX_CHUNK),
        Err(error) => return error,
    };

    let mut silent_at = None;
    let mut asked = Instant::now();
    loop {
        let chunk = match timeout(SILENCE, chunks.next()).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return unavailable("the subscription has ended".into()),
            Err(_) => match look(bus, source, *applied, &mut silent_at).await {
                Ok(()) => {
                    asked = Instant::now();
                    continue;
                }
                Err(error) => return error,
            },
        };
        // The first event chains to nothing: no hash tells that it is another one's.
        if *applied == Checkpoint::ZERO || asked.elapsed() > ASK_EVERY {
            if let Err(error) = find(bus, source).await {
                return error;
            }
            asked = Instant::now();
        }
        let mut verified = Vec::with_capacity(chunk.len());
        let all = chunk.into_iter().try_for_each(|message| {
            let message = message.map_err(|error| unavailable(error.into()))?;
            if let Some(row) = verify(stream, message, from, *applied)? {
                *applied = row.checkpoint();
                verified.push(Delivery::of(row));
            }
            Ok(())
        });
        if !verified.is_empty() && events.send(verified).await.is_err() {
            return ReadError::Stopped;
        }
        if let Err(error) = all {
            return error;
        }
    }
}

/// Fills `events` with what is delivered: waits if there is none yet, and takes all that is
/// there then until it has as many as wanted, or some more. Says whether it has any.
pub(crate) async fn fill(
    events: &mut Vec<Delivery>,
    wanted: usize,
    delivered: &mut mpsc::Receiver<Vec<Delivery>>,
) -> bool {
    if events.is_empty()
        && let Some(first) = delivered.recv().await
    {
        *events = first;
    }
    while events.len() < wanted
        && let Ok(more) = delivered.try_recv()
    {
        events.extend(more);
    }
    !events.is_empty()
}

/// Whether a stream that says nothing has nothing to say: not if it ends before what was
/// applied, lacks messages, or goes on and was silent when it was looked at before.
async fn look(
    bus: &Bus,
    source: Source,
    applied: Checkpoint,
    silent_at: &mut Option<Checkpoint>,
) -> Result<(), ReadError> {
    let stream = name(source);
    let found = find(bus, source).await?;
    let (last, messages) =
        (found.cached_info().state.last_sequence, found.cached_info().state.messages);
    let applied_to = applied.sequence.0;
    if last < applied_to {
        return Err(ReadError::Behind { stream, last, applied: applied_to });
    }
    if messages != last {
        // Nothing is published to it until it is refilled.
        return Err(ReadError::Damaged { stream, sequence: last, what: "messages are missing" });
    }
    if last > applied_to && silent_at.replace(applied) == Some(applied) {
        let what = "the message is not delivered";
        return Err(ReadError::Damaged { stream, sequence: applied.sequence.next().0, what });
    }
    Ok(())
}

const fn name(source: Source) -> &'static str {
    Stream::of(source, 1, -1).name
}

/// The stream of a source, if it is there and this installation's.
async fn find(bus: &Bus, source: Source) -> Result<stream::Stream, ReadError> {
    let found = bus.stream(source).await.map_err(|error| read_error(source, error))?;
    let absent =
        || ReadError::Unavailable { stream: name(source), source: "the message is missing".into() };
    found.ok_or_else(absent)
}

fn read_error(of: Source, error: StreamError) -> ReadError {
    match error {
        StreamError::Foreign(foreign) => ReadError::Foreign(foreign),
        StreamError::Unavailable(source) => ReadError::Unavailable { stream: name(of), source },
    }
}

/// The events of a source after one checkpoint, up to and with another.
///
/// # Errors
/// [`ReadError`], if they cannot be read, or if the stream holds another event there.
pub async fn read_to(
    bus: &Bus,
    source: Source,
    from: Checkpoint,
    to: Checkpoint,
) -> Result<Vec<Delivery>, ReadError> {
    let (events, mut delivered) = mpsc::channel(MAX_READ_AHEAD);
    let (mut deliveries, mut applied) = (Vec::<Delivery>::new(), from);
    let mut reached = from;
    let take = async {
        while applied.sequence < to.sequence
            && let Some(more) = delivered.recv().await
        {
            deliveries.extend(more);
            deliveries.truncate(to.sequence.0.saturating_sub(from.sequence.0) as usize);
            applied = deliveries.last().map_or(applied, Delivery::checkpoint);
        }
    };
    tokio::select! {
        biased;
        () = take => {}
        error = read(bus, source, &mut reached, &events) => return Err(error),
    }
    if applied == to {
        return Ok(deliveries);
    }
    Err(ReadError::Differs {
        stream: name(source),
        sequence: to.sequence.0,
        found: applied.hash,
        expected: to.hash,
    })
}

/// Where the streams of all sources end now: those that are absent hold nothing.
///
/// # Errors
/// [`ReadError::Unavailable`], and [`ReadError::Foreign`].
pub async fn ends(bus: &Bus) -> Result<Position, ReadError> {
    let mut ends = Position::ZERO;
    for source in Source::ALL {
        let remote = Remote::new(bus.clone(), Stream::of(source, 1, -1));
        let extent = remote.extent().await.map_err(|error| read_error(source, error))?;
        ends = ends.with(source, extent.unwrap_or_default().last);
    }
    Ok(ends)
}

async fn subscribe(
    bus: &Bus,
    source: Source,
    from: Checkpoint,
) -> Result<pull::Ordered, ReadError> {
    let unavailable =
        |error: async_nats::Error| ReadError::Unavailable { stream: name(source), source: error };
    let stream = find(bus, source).await?;
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.sequence.0.max(1) },
        replay_policy: ReplayPolicy::Instant,
        max_expires: Duration::from_secs(30),
        ..Default::default()
    };
    let consumer =
        stream.create_consumer(config).await.map_err(|error| unavailable(error.into()))?;
    consumer.messages().await.map_err(|error| unavailable(error.into()))
}

/// Checks one message against what was applied before it. Nothing is returned for the
/// message at the checkpoint itself, which was applied before.
fn verify(
    stream: &'static str,
    message: Message,
    from: Checkpoint,
    applied: Checkpoint,
) -> Result<Option<Row>, ReadError> {
    let headers = message.headers.as_ref();
    let found = headers.and_then(|headers| headers.get(Stream::HASH_HEADER));
    let found = found.and_then(|value| Hash::from_hex(value.as_str()));
    let next = applied.extend(&message.payload);
    if found == Some(next.hash) {
        let (sequence, hash) = (next.sequence, next.hash);
        return Ok(Some(Row { sequence, hash, event: message.message.payload }));
    }
    if found == Some(from.hash) && applied == from {
        return Ok(None);
    }

    // Only where it does not chain, it matters which message it is: to read that takes long.
    let info = message.info().map_err(|source| ReadError::Unavailable { stream, source })?;
    let sequence = info.stream_sequence;
    let damaged = |what| ReadError::Damaged { stream, sequence, what };
    let found = found.ok_or_else(|| damaged("it has no Agora-Hash header"))?;
    let expected = if sequence == from.sequence.0 {
        from.hash
    } else if sequence == next.sequence.0 {
        next.hash
    } else {
        return Err(damaged("messages before it are missing"));
    };
    Err(ReadError::Differs { stream, sequence, found, expected })
}
