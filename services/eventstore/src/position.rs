//! Positions: what a write returns so that a read can ask to include it.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus_schema::{Sequence, Source};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};

use chassis::{Error, failpoint, fields::Fields};

/// Up to where the events of each source are included: `comment:1234,post:88`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position([Sequence; Source::ALL.len()]);

impl Position {
    /// Includes nothing.
    pub const ZERO: Self = Self([Sequence::ZERO; Source::ALL.len()]);

    /// Up to where a source's events are included; 0 if none are.
    pub fn get(&self, source: Source) -> Sequence {
        self.0[source as usize]
    }

    /// Reads the position of a request; empty means one that includes nothing.
    pub fn read(fields: &mut Fields, value: &str) -> Option<Self> {
        fields.check("position", value.parse())
    }

    /// The same with a source's events included up to `sequence`.
    #[must_use]
    pub fn with(mut self, source: Source, sequence: Sequence) -> Self {
        self.0[source as usize] = sequence;
        self
    }

    /// The smallest position that includes both.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = (*mine).max(theirs);
        }
        self
    }

    /// Whether all that `other` includes of these sources is included here.
    pub fn includes(&self, other: &Self, sources: &[Source]) -> bool {
        sources.iter().all(|source| self.get(*source) >= other.get(*source))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for source in Source::ALL {
            let sequence = self.get(source);
            if sequence > Sequence::ZERO {
                write!(f, "{separator}{source}:{sequence}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a position of an earlier answer, such as comment:1234,post:88")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let mut position = Self::ZERO;
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (source, sequence) = part.split_once(':').ok_or(InvalidPosition)?;
            let source: Source = source.parse().map_err(|_| InvalidPosition)?;
            let sequence: u64 = sequence.parse().map_err(|_| InvalidPosition)?;
            if i64::try_from(sequence).is_err() {
                return Err(InvalidPosition);
            }
            position = position.merge(Self::ZERO.with(source, Sequence(sequence)));
        }
        Ok(position)
    }
}

/// How far this service is: its journal's head and its consumers' checkpoints. Who
/// needs a position waits here for it.
#[derive(Clone, Debug)]
pub struct Watermarks {
    sources: Arc<[Source]>,
    reached: watch::Sender<Position>,
    /// The most that was ever included: who writes must not find less.
    highest: Arc<Mutex<Position>>,
    waiters: Arc<Semaphore>,
}

impl Watermarks {
    /// How long a read or write waits for its position at most.
    pub const MAX_WAIT: Duration = Duration::from_secs(2);
    /// How many reads and writes wait at the same time at most.
    pub const MAX_WAITERS: usize = 1_000;

    /// The watermarks of a service that knows these sources; what a position says of
    /// others is not waited for.
    pub fn new(sources: &[Source]) -> Self {
        Self {
            sources: sources.into(),
            reached: watch::Sender::new(Position::ZERO),
            highest: Arc::default(),
            waiters: Arc::new(Semaphore::new(Self::MAX_WAITERS)),
        }
    }

    /// What is included now. Read it before the data: then what is read includes it.
    pub fn reached(&self) -> Position {
        *self.reached.borrow()
    }

    /// Says that a source's events are included up to `sequence`, which may be lower
    /// than before after a rewind.
    pub fn set(&self, source: Source, sequence: Sequence) {
        self.reached.send_if_modified(|position| {
            let changed = position.get(source) != sequence;
            *position = position.with(source, sequence);
            changed
        });
    }

    /// The most of a source that was ever included.
    pub(crate) fn highest(&self, source: Source) -> Sequence {
        self.highest.lock().unwrap_or_else(|lock| lock.into_inner()).get(source)
    }

    /// Says that a source's events are included up to `sequence` and no further, whatever
    /// was before.
    pub(crate) fn revert(&self, source: Source, sequence: Sequence) {
        {
            let mut highest = self.highest.lock().unwrap_or_else(|lock| lock.into_inner());
            *highest = highest.with(source, sequence);
        }
        self.set(source, sequence);
    }

    /// Says that at least this much is included.
    pub fn raise(&self, position: Position) {
        {
            let mut highest = self.highest.lock().unwrap_or_else(|lock| lock.into_inner());
            *highest = highest.merge(position);
        }
        self.reached.send_if_modified(|reached| {
            let before = *reached;
            *reached = reached.merge(position);
            *reached != before
        });
    }

    /// Says where all sources are at once.
    pub fn set_all(&self, position: Position) {
        self.reached.send_replace(position);
    }

    /// Follows the watermarks.
    pub fn subscribe(&self) -> watch::Receiver<Position> {
        self.reached.subscribe()
    }

    /// Reads something once `wanted` is included, and returns what was included then. A
    /// database that was put back to an earlier state meanwhile is read again, as soon as it
    /// includes that much.
    ///
    /// # Errors
    /// As [`Self::wait`], and [`Error::Unavailable`].
    pub async fn read<T, F>(
        &self,
        wanted: &Position,
        deadline: Instant,
        read: impl Fn() -> F,
    ) -> Result<(T, Position), Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        loop {
            let reached = self.wait(wanted, deadline).await?;
            let found = read().await?;
            if self.reached().includes(&reached, &self.sources) {
                return Ok((found, reached));
            }
        }
    }

    /// Waits until `wanted` is included, at most [`Self::MAX_WAIT`] or until the
    /// deadline, and returns what is included then.
    ///
    /// # Errors
    /// [`Error::PositionNotReached`] if it is not in time, [`Error::Overloaded`] if
    /// too many wait already.
    pub async fn wait(&self, wanted: &Position, deadline: Instant) -> Result<Position, Error> {
        let reached = self.reached();
        if reached.includes(wanted, &self.sources) || failpoint!(PositionNotAwaited) {
            return Ok(reached);
        }
        let _waiter =
            self.waiters.try_acquire().map_err(|_| Error::Overloaded("waiting for a position"))?;
        let deadline = deadline.min(Instant::now() + Self::MAX_WAIT);
        let mut watch = self.reached.subscribe();
        let arrived = watch.wait_for(|reached| reached.includes(wanted, &self.sources));
        match timeout_at(deadline, arrived).await {
            Ok(Ok(reached)) => Ok(*reached),
            Ok(Err(_)) | Err(_) => Err(Error::PositionNotReached {
                wanted: wanted.to_string(),
                reached: self.reached().to_string(),
            }),
        }
    }
}
