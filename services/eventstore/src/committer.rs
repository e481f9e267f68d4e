//! The committer: the one writer of a source's database. It takes all commands that
//! wait, decides them in the order of their arrival and commits them together: one
//! sync of the disk serves them all.
//!
//! Consumers hand it their batches and the relay hands it what a stream holds beyond
//! the journal; nothing else writes.

mod commands;
mod consume;
mod gather;
mod import;
mod log;
mod queue;
mod rebuild;
mod repair;
mod rewind;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use bus_schema::{Checkpoint, Source};
use gather::Anew;
use sqlx::Pool;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout_at,
};
use tracing::{Instrument as _, Span};

use crate::{
    Position, Watermarks,
    consumer::{Owners, Sink},
    database::Backend,
    dead_letter::{Refused, Repair, Repaired, Repairs as _},
    delivery::Batch,
    domain::{Command, Domain, Store},
    gate::Gate,
    journal::Row,
};
use chassis::{Error, call::Origin, failpoint};

pub(crate) use writer::Writer;

/// How many commands one transaction takes at most. It never waits for more.
pub const MAX_BATCH: usize = 256;
/// How many commands wait at most.
pub const MAX_QUEUED: usize = 4_096;
/// How many bytes of commands wait at most.
pub const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// The way to the committer of a service; cheap to clone.
pub struct Committer<S: Store> {
    inner: Arc<Inner<S>>,
}

struct Inner<S: Store> {
    commands: mpsc::Sender<Item<S>>,
    deliveries: mpsc::Sender<Delivered>,
    upkeep: mpsc::Sender<Upkeep>,
    bytes: Arc<Semaphore>,
    gate: watch::Sender<Gate>,
    reverts: watch::Sender<u64>,
    readers: Pool<S::Backend>,
    watermarks: Watermarks,
}

/// What a carried out command answers with.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed<R> {
    /// The resource.
    pub reply: R,
    /// Give it to a read that must include the command.
    pub position: Position,
}

/// The reply type of a store's domain.
type Reply<S> = <<S as Store>::Domain as Domain>::Reply;
/// The error type of a store's domain.
type Refusal<S> = <<S as Store>::Domain as Domain>::Error;
/// What a command is answered with.
type Outcome<S> = Result<Committed<Reply<S>>, Refusal<S>>;

/// A command that waits.
struct Item<S: Store> {
    origin: Origin,
    command: Command<S>,
    answer: oneshot::Sender<Outcome<S>>,
    /// Its part of [`MAX_QUEUED_BYTES`].
    _bytes: OwnedSemaphorePermit,
}

/// Other work that waits, and what it is answered with.
struct Job<T, R = Result<(), Error>> {
    work: T,
    done: oneshot::Sender<R>,
}

/// Others' events: they wait, as commands do, while journal and stream are not compared.
enum Delivered {
    Batch(Job<Batch>),
    /// Those that were parked.
    Repair(Job<Repair, Result<Repaired, Refused>>),
}

/// What is done whether journal and stream are compared or not.
enum Upkeep {
    Import(Job<Vec<Row>>),
    Resume(Job<Source>),
    Anew(Job<Anew>),
}

impl<S: Store> Clone for Committer<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<S: Store> Committer<S> {
    /// Has a command carried out, and returns its answer once it is durable. A command
    /// once taken is carried out even if nobody waits for it any more.
    ///
    /// # Errors
    /// The rule that it breaks, or why it was not carried out. After a time-out and
    /// after [`Error::Unavailable`] it may have been: a retry with the same request id
    /// tells.
    pub async fn submit(&self, origin: Origin, command: Command<S>) -> Outcome<S> {
        if let Gate::Halted(found) = &*self.inner.gate.borrow() {
            return Err(Error::Halted(found.clone()).into());
        }
        let size = u32::try_from(origin.size.clamp(1, MAX_QUEUED_BYTES)).unwrap_or(u32::MAX);
        let bytes = self
            .inner
            .bytes
            .clone()
            .try_acquire_many_owned(size)
            .map_err(|_| Error::Overloaded("the committer's queue holds 64 MiB"))?;

        let deadline = origin.deadline;
        let (answer, answered) = oneshot::channel();
        let item = Item { origin, command, answer, _bytes: bytes };
        self.inner.commands.try_send(item).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::Overloaded("the committer's queue holds 4,096 commands")
            }
            mpsc::error::TrySendError::Closed(_) => Error::ShuttingDown,
        })?;

        match timeout_at(deadline, answered).instrument(Self::span()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::ShuttingDown.into()),
            Err(_) => Err(self.late().into()),
        }
    }

    /// The span of waiting until something is durable.
    fn span() -> Span {
        let (source, system) = (S::Domain::SOURCE.as_str(), S::Backend::SYSTEM);
        tracing::debug_span!(
            "commit",
            otel.name = %format_args!("commit {source}"),
            otel.kind = "client",
            db.system.name = system,
            db.namespace = source,
            db.operation.name = "COMMIT",
        )
    }

    /// Measures how much waits, and how much may.
    pub(crate) fn measure(&self) -> impl Fn() + Send + use<S> {
        queue::measure(S::Domain::SOURCE, self.inner.commands.downgrade(), self.inner.bytes.clone())
    }

    /// Why a command was not answered in time.
    fn late(&self) -> Error {
        match &*self.inner.gate.borrow() {
            Gate::Open => Error::DeadlineExceeded,
            Gate::Comparing(what) => Error::NotCompared(what.clone()),
            Gate::Halted(found) => Error::Halted(found.clone()),
        }
    }

    /// Whether commands are carried out now.
    pub fn gate(&self) -> watch::Receiver<Gate> {
        self.inner.gate.subscribe()
    }

    /// How far the service is.
    pub fn watermarks(&self) -> Watermarks {
        self.inner.watermarks.clone()
    }

    /// Changes whenever the database was found in another state than before. Take it
    /// before journal and stream are compared.
    pub(crate) fn reverts(&self) -> watch::Receiver<u64> {
        self.inner.reverts.subscribe()
    }

    /// Lets commands through, unless the database has changed since `reverts` was taken:
    /// then they go on waiting.
    pub(crate) fn open_gate(&self, reverts: &watch::Receiver<u64>) {
        // The writer counts first and closes the gate then, so that none of both is missed.
        self.inner.gate.send_if_modified(|gate| {
            let opens = *gate != Gate::Open && reverts.has_changed().is_ok_and(|changed| !changed);
            if opens {
                *gate = Gate::Open;
            }
            opens
        });
    }

    /// Stops commands.
    pub(crate) fn set_gate(&self, gate: Gate) {
        failpoint!(GateNeverClosed => return);
        self.inner.gate.send_if_modified(|now| {
            let changed = *now != gate;
            *now = gate;
            changed
        });
    }

    /// Folds what a stream holds beyond the journal into state and journal. The rows
    /// chain to the journal's head.
    pub(crate) async fn import(&self, rows: Vec<Row>) -> Result<(), Error> {
        hand_over(&self.inner.upkeep, Upkeep::Import, rows).await?
    }
}

impl<S: Store> Sink for Committer<S> {
    async fn checkpoint(&self, source: Source) -> Result<Checkpoint, Error> {
        // Another replica may have parked events since this one consumed last.
        hand_over(&self.inner.upkeep, Upkeep::Resume, source).await??;
        let repaired = self.repair(Repair::Outdated(source)).await;
        repaired.map_err(Error::internal)?;
        let mut connection = self.inner.readers.acquire().await?;
        Ok(S::Backend::checkpoint(&mut connection, source).await?)
    }

    async fn apply(&self, batch: Batch) -> Result<(), Error> {
        hand_over(&self.inner.deliveries, Delivered::Batch, batch).instrument(Self::span()).await?
    }

    async fn rewind(&self, source: Source, owners: &Owners) -> Result<(), Error> {
        self.rewind_to_owner(source, owners).await
    }
}

/// Has work wait in a queue, as the kind that it is there, and waits for what it comes to.
async fn hand_over<Q, T, R>(
    queue: &mpsc::Sender<Q>,
    kind: fn(Job<T, R>) -> Q,
    work: T,
) -> Result<R, Error> {
    let (done, outcome) = oneshot::channel();
    queue.send(kind(Job { work, done })).await.map_err(|_| Error::ShuttingDown)?;
    outcome.await.map_err(|_| Error::ShuttingDown)
}
