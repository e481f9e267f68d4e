//! The consumer: reads another source's stream in order, verifies its chain, and
//! hands the events in batches to what applies them.
//!
//! It starts *at* its checkpoint: the message there must have the checkpoint's hash,
//! and every further one must chain. A stream that was cut off, recreated or replaced
//! is known by that, whatever its sequences say.

mod follow;
mod lag;
mod owners;
pub(crate) mod read;
mod run;
mod trace;

use std::future::Future;

use bus_schema::{Checkpoint, DecodeError, Event, Hash, Sequence, Source};
use bytes::Bytes;
use uuid::Uuid;

use crate::{Error, journal::Row};

pub use owners::{AskError, Owners};
pub use read::{ReadError, ends, read_to};
pub use run::{Consumer, Ended, session, spawn};

/// How many events a batch has at most: a power of two, as batches under load are.
pub const MAX_BATCH: usize = 1_024;
/// How many events are handed over together by whoever reads a source, at most.
const MAX_CHUNK: usize = 128;
/// How many chunks of verified events wait for the batches that will take them.
pub(crate) const MAX_READ_AHEAD: usize = 128;

/// One event as it was delivered: it verifies and chains.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its number in its source's journal.
    pub sequence: Sequence,
    /// The chain up to and with this event.
    pub hash: Hash,
    /// Byte for byte what the journal holds.
    pub bytes: Bytes,
    /// The event, or why this program cannot apply it. Boxed, as deliveries are moved about.
    pub event: Result<Box<Event>, DecodeError>,
}

impl Delivery {
    /// A row that was found to verify and to chain.
    pub(crate) fn of(row: Row) -> Self {
        let Row { sequence, hash, event: bytes } = row;
        let decoded = Event::decode(bytes.clone()).map(Box::new);
        Self { sequence, hash, event: decoded, bytes }
    }

    /// The chain up to and with this event.
    pub(crate) const fn checkpoint(&self) -> Checkpoint {
        Checkpoint { sequence: self.sequence, hash: self.hash }
    }

    /// What the event happened to, as far as that can be read.
    pub fn aggregate(&self) -> Option<Uuid> {
        match &self.event {
            Ok(event) => event.aggregate,
            Err(DecodeError::UnknownType { aggregate }) => *aggregate,
            Err(DecodeError::Malformed(_)) => None,
        }
    }
}

/// Events of one source that follow each other without holes.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose events these are.
    pub source: Source,
    /// What was applied before them.
    pub from: Checkpoint,
    /// What is applied with them.
    pub to: Checkpoint,
    /// At least one.
    pub deliveries: Vec<Delivery>,
}

impl Batch {
    /// Two halves, or the batch itself if it holds a single event.
    ///
    /// # Errors
    /// The batch itself.
    pub fn split(self) -> Result<(Self, Self), Self> {
        let half = self.deliveries.len() / 2;
        if half == 0 { Err(self) } else { Ok(self.split_at(half)) }
    }

    /// Its first `count` events, at least one and not all, and the rest.
    ///
    /// # Panics
    /// If `count` is 0 or greater than the number of events.
    pub fn split_at(mut self, count: usize) -> (Self, Self) {
        let rest = self.deliveries.split_off(count);
        let middle = self.deliveries[count - 1].checkpoint();
        let second = Self { source: self.source, from: middle, to: self.to, deliveries: rest };
        self.to = middle;
        (self, second)
    }
}

/// What applies a consumer's events.
pub trait Sink: Clone + Send + Sync + 'static {
    /// How many events it takes at once at most.
    const MAX_BATCH: usize = MAX_BATCH;

    /// Whether it applies what another one of its kind has applied before, as a view that is
    /// made anew: that is no part of the traces of old.
    fn replays(&self) -> bool {
        false
    }

    /// What it has applied of a source.
    fn checkpoint(&self, source: Source) -> impl Future<Output = Result<Checkpoint, Error>> + Send;

    /// Applies a batch and moves the checkpoint from [`Batch::from`] to [`Batch::to`],
    /// in one transaction and only if it still is there. What it cannot apply, it
    /// parks; an error means that nothing was done and that the same may succeed later.
    fn apply(&self, batch: Batch) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets what it has applied of a source, and applies what the source's owner has,
    /// from its first event on. Nobody sees what is half done.
    fn rewind(
        &self,
        source: Source,
        owners: &Owners,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
