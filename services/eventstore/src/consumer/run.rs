use std::{convert::Infallible, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bus_schema::{Checkpoint, Source};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument as _;

use super::{
    MAX_READ_AHEAD, Owners, Sink, lag,
    read::{ReadError, fill},
    source::follow,
    trace,
};
use crate::{
    Watermarks,
    delivery::{Batch, Delivery},
    leader::Leadership,
};
use chassis::{Bus, Error, Host, bus::StreamError, host::Health};

/// A batch should keep other work waiting no longer than this.
const BATCH_TIME: Duration = Duration::from_millis(10);
/// From so many events on, a batch is one of a busy source.
const BUSY: usize = 8;
/// How long the next batch of a busy source is put off at most.
const MAX_LINGER: Duration = Duration::from_millis(20);
/// How few events a batch is cut down to at the least.
const MIN_BATCH: usize = 128;
/// How often it is looked whether the sink still is where it was, while no event comes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether a stream still is another installation's.
const ASK_EVERY: Duration = Duration::from_secs(3);
/// A session that lasted this long was a success: the next failure starts with a short
/// pause again.
const STEADY: Duration = Duration::from_secs(10);

/// One consumer: reads one source for one sink.
pub struct Consumer<K: Sink> {
    source: Source,
    sink: K,
    leadership: Leadership,
    bus: Bus,
    owners: Owners,
    shutdown: CancellationToken,
    health: Health,
}

/// Starts a consumer in a host; it runs while this process leads, until the host shuts down.
/// How far it is behind, the watermarks tell.
pub fn spawn<K: Sink>(
    host: &mut Host,
    owners: &Owners,
    service: &str,
    source: Source,
    sink: K,
    leadership: Leadership,
    watermarks: &Watermarks,
) {
    lag::watch(host, service, source, watermarks);
    let name = format!("{service} consumer of {source}");
    let consumer = Consumer {
        source,
        sink,
        leadership,
        bus: host.bus(),
        owners: owners.clone(),
        shutdown: host.shutdown(),
        health: host.health(&name),
    };
    // A consumer that is behind, or cannot read, must not take its service out of
    // rotation: what was applied can be read all the same.
    consumer.health.set_ready(true, "starting");
    host.spawn(&name, consumer.run());
}

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The stream cannot be read, or is not what it should be.
    #[error("cannot read")]
    Read(#[from] ReadError),
    /// The sink was rewound, or made again.
    #[error("checkpoint changed underneath")]
    Moved,
    /// The sink cannot take the events.
    #[error("cannot apply")]
    Apply(#[source] Error),
}

/// Reads a source's events for a sink, from its checkpoint on, and applies them in
/// batches; ends with an error only. It is said when the first event is waited for.
///
/// # Errors
/// [`Ended`].
pub async fn session<K: Sink>(
    bus: &Bus,
    owners: &Owners,
    source: Source,
    sink: &K,
    starts: impl FnOnce(),
) -> Result<Infallible, Ended> {
    let from = sink.checkpoint(source).await.map_err(Ended::Apply)?;
    let (events, mut delivered) = mpsc::channel(MAX_READ_AHEAD);
    let (end, ended) = oneshot::channel();
    let (bus, owners) = (bus.clone(), owners.clone());
    // A task of its own: decoding and hashing run beside the SQL.
    let _reader = AbortOnDropHandle::new(tokio::spawn(async move {
        let error = follow(&bus, &owners, source, from, &events).await;
        end.send(error).ok();
    }));
    starts();
    apply(source, sink, from, &mut delivered).await?;
    Err(ended.await.unwrap_or(ReadError::Stopped).into())
}

impl<K: Sink> Consumer<K> {
    async fn run(self) -> Result<(), Error> {
        let shutdown = self.shutdown.clone();
        shutdown.run_until_cancelled(self.run_while_leading()).await;
        Ok(())
    }

    async fn run_while_leading(&self) {
        let mut leadership = self.leadership.clone();
        loop {
            if !leadership.is_held() {
                self.health.set_ready(true, "another replica consumes");
            }
            leadership.gained().await;
            tokio::select! {
                () = self.run_sessions() => {}
                () = leadership.lost() => {}
            }
        }
    }

    /// Waits as long as the stream is another installation's: the log has said so, once for all
    /// who read it.
    async fn wait_for_own(&self) {
        while let Err(StreamError::Foreign(foreign)) = self.bus.stream(self.source).await {
            self.health.set_ready(true, &foreign.to_string());
            sleep(ASK_EVERY).await;
        }
    }

    /// Reads and applies; after an error starts again at the sink's checkpoint, with
    /// pauses that grow.
    async fn run_sessions(&self) {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times();
        let mut pause = pauses.build();
        loop {
            self.wait_for_own().await;
            let started = Instant::now();
            let starts = || self.health.set_ready(true, "running");
            let Err(ended) =
                session(&self.bus, &self.owners, self.source, &self.sink, starts).await;
            let text = chassis::error::chain(&ended);
            match ended {
                // While a stream or NATS is absent this repeats: not worth a warning.
                Ended::Read(ReadError::Unavailable { .. }) => {
                    tracing::info!(source = %self.source, error = %text, "consumer waiting");
                }
                Ended::Read(ReadError::Foreign(_)) => continue,
                Ended::Read(ReadError::Replaced { .. }) => {
                    tracing::warn!(source = %self.source, error = %text, "retrying the stream");
                    continue;
                }
                Ended::Moved => {
                    tracing::info!(source = %self.source, error = %text, "consumer restarting from checkpoint");
                    continue;
                }
                Ended::Read(ReadError::Ahead { .. }) => {
                    tracing::error!(source = %self.source, error = %text, "rewinding");
                    self.health.set_ready(true, &text);
                    match self.sink.rewind(self.source, &self.owners).await {
                        Ok(()) => continue,
                        Err(error) => {
                            let error = chassis::error::chain(&error);
                            tracing::error!(source = %self.source, error, "cannot rewind");
                        }
                    }
                }
                _ => tracing::error!(source = %self.source, error = %text, "consumer stopped"),
            }
            self.health.set_ready(true, &text);
            if started.elapsed() > STEADY {
                pause = pauses.build();
            }
            // Full jitter: consumers that failed together do not come back together.
            let longest = pause.next().unwrap_or(Duration::from_secs(5));
            sleep(longest.mul_f64(rand::random())).await;
        }
    }
}

/// Applies what is delivered, in batches, until nothing more comes.
async fn apply<K: Sink>(
    source: Source,
    sink: &K,
    from: Checkpoint,
    delivered: &mut mpsc::Receiver<Vec<Delivery>>,
) -> Result<(), Ended> {
    let mut checkpoint = from;
    let mut size = MIN_BATCH;
    let mut waiting = Vec::new();
    loop {
        match timeout(LOOK_EVERY, fill(&mut waiting, size, delivered)).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // While nothing comes, nothing else tells that the sink is another one.
            Err(_) if sink.checkpoint(source).await.map_err(Ended::Apply)? != checkpoint => {
                return Err(Ended::Moved);
            }
            Err(_) => continue,
        }
        let mut count = waiting.len().min(size);
        let full = count == size;
        if count >= BUSY {
            // One statement takes a power of two of rows; what is left has company soon.
            count = 1 << count.ilog2();
        }
        let rest = waiting.split_off(count);
        let deliveries = std::mem::replace(&mut waiting, rest);
        let to = deliveries[count - 1].checkpoint();
        let span = trace::span(source, &deliveries, sink.replays());
        let batch = Batch { source, from: checkpoint, to, deliveries };

        let started = Instant::now();
        let applied = sink.apply(batch).instrument(span.clone()).await;
        if applied.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        applied.map_err(Ended::Apply)?;
        checkpoint = to;
        let took = started.elapsed();
        size = next_size::<K>(size, count, took);
        if count >= BUSY && !full {
            // Under load every transaction serves more events if it comes a little later.
            sleep((2 * took).min(MAX_LINGER)).await;
        }
    }
}

/// Batches grow while they are quick and full, and shrink when they take too long.
fn next_size<K: Sink>(size: usize, count: usize, took: Duration) -> usize {
    // A sink that takes more than usual at once has nobody else waiting.
    let patient = K::MAX_BATCH > super::MAX_BATCH;
    if took > BATCH_TIME && !patient {
        (size / 2).max(MIN_BATCH)
    } else if count == size {
        (size * 2).min(K::MAX_BATCH)
    } else {
        size
    }
}
