//! Events as they reach whoever applies them, one by one and in batches.

use bus_schema::{Checkpoint, DecodeError, Event, Hash, Sequence, Source};
use bytes::Bytes;
use uuid::Uuid;

use crate::journal::Row;

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
