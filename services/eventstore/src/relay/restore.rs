//! A database that is made again: its state from its journal, its journal's end from the
//! stream. Also after a fork, when both hold events that differ.

use bus_schema::{Checkpoint, Sequence};
use futures::future::BoxFuture;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{agree::SILENCE, compare::CompareError, inspect::Keeper};
use crate::{
    committer::Committer,
    consumer::{
        MAX_READ_AHEAD, ReadError,
        read::{fill, read},
    },
    database::Backend,
    delivery::Delivery,
    domain::{Domain, Store},
    journal::Row,
};
use chassis::Error;

/// How many messages are compared at once.
const CHUNK: usize = 1_000;

/// Who makes a database again: its committer.
pub(crate) trait Remakes: Send + Sync {
    /// Forgets what was gathered before.
    fn begin(&self) -> BoxFuture<'_, Result<(), Error>>;
    /// Takes events of the stream that the journal has not.
    fn gather(&self, rows: Vec<Row>) -> BoxFuture<'_, Result<(), Error>>;
    /// Makes it, from the journal up to `keep` and from what was gathered.
    fn remake(&self, keep: Option<Checkpoint>) -> BoxFuture<'_, Result<(), Error>>;
}

impl<S: Store> Remakes for Committer<S> {
    fn begin(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.begin_gathering(S::Domain::SOURCE))
    }

    fn gather(&self, rows: Vec<Row>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.gather(S::Domain::SOURCE, rows))
    }

    fn remake(&self, keep: Option<Checkpoint>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.remake(keep))
    }
}

/// What a database was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restored {
    /// Where the journal ends now.
    pub(crate) journal: Sequence,
    /// Up to where it was kept.
    pub(crate) kept: Sequence,
    /// How many of its events were parked.
    pub(crate) parked: u64,
}

/// Why a database is left as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Chassis(#[from] Error),
    #[error("there is no stream: the relay creates it")]
    Absent,
    #[error("the stream does not verify")]
    Unverified(#[source] ReadError),
    #[error("the stream was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error(
        "the journal has a broken hash chain at {0}: if the stream verifies, remove the database and \
         start the service, which restores it from the stream"
    )]
    Broken(Sequence),
    #[error(
        "journal and stream hold different events after {0}: `agora admin fork` takes the \
         stream's and parks the journal's"
    )]
    Forked(Sequence),
    #[error("journal and stream do not differ: there is no fork")]
    NotForked,
}

impl From<CompareError> for RestoreError {
    fn from(error: CompareError) -> Self {
        Self::Chassis(error.into())
    }
}

impl From<sqlx::Error> for RestoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Chassis(error.into())
    }
}

/// How the journal and the stream stand to each other.
struct Compared {
    /// Where both are equal last.
    equal: Checkpoint,
    /// Whether they go on with different events.
    differs: bool,
    /// Where the stream ends.
    stream: Sequence,
}

impl<B: Backend> Keeper<B> {
    /// Makes the database again, after reading the whole stream against the journal; says how
    /// many messages were compared, of how many.
    pub(crate) async fn restore(
        &self,
        fork: bool,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Restored, RestoreError> {
        let head = B::head(&mut *self.readers.acquire().await?).await?;
        let Compared { equal, differs, stream } = self.compare_all(head, progress).await?;
        match (differs, fork) {
            (true, false) => return Err(RestoreError::Forked(equal.sequence)),
            (false, true) => return Err(RestoreError::NotForked),
            _ => {}
        }
        tracing::warn!(
            stream = self.remote.name(),
            kept = if fork { equal.sequence.0 } else { head.sequence.0 },
            fork,
            "restoring the database"
        );
        self.remakes.remake(fork.then_some(equal)).await?;
        Ok(if fork {
            let parked = head.sequence.0 - equal.sequence.0;
            Restored { journal: stream, kept: equal.sequence, parked }
        } else {
            Restored { journal: stream.max(head.sequence), kept: head.sequence, parked: 0 }
        })
    }

    /// Reads the whole stream against the journal, and gathers what the journal has not.
    async fn compare_all(
        &self,
        head: Checkpoint,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Compared, RestoreError> {
        let extent = self.remote.extent().await.map_err(CompareError::from)?;
        let stream = extent.ok_or(RestoreError::Absent)?.last;
        self.remakes.begin().await?;
        let (events, mut delivered) = mpsc::channel(MAX_READ_AHEAD);
        let (bus, source) = (self.remote.bus().clone(), self.remote.source());
        let reader = AbortOnDropHandle::new(tokio::spawn(async move {
            read(&bus, source, &mut Checkpoint::ZERO.clone(), &events).await
        }));
        let (mut equal, mut differs, mut read_to) = (Checkpoint::ZERO, false, Sequence::ZERO);
        while read_to < stream {
            let mut deliveries = Vec::new();
            let received = fill(&mut deliveries, CHUNK, &mut delivered);
            if !timeout(SILENCE, received).await.map_err(|_| RestoreError::Silent)? {
                let error = reader.await.unwrap_or(ReadError::Stopped);
                return Err(RestoreError::Unverified(error));
            }
            deliveries.retain(|delivery| delivery.sequence <= stream);
            let from = read_to.next();
            let limit = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
            let mut ours = B::rows(&mut *self.readers.acquire().await?, from, limit).await?;
            ours.retain(|row| row.sequence <= head.sequence);
            let mut others = Vec::new();
            for (index, Delivery { sequence, hash, bytes, .. }) in
                deliveries.into_iter().enumerate()
            {
                read_to = sequence;
                let row = Row { sequence, hash, event: bytes };
                if let Some(own) = ours.get(index).filter(|_| !differs) {
                    if own.checkpoint() != equal.extend(&own.event) {
                        return Err(RestoreError::Broken(own.sequence));
                    }
                    if *own == row {
                        equal = row.checkpoint();
                        continue;
                    }
                    differs = true;
                }
                others.push(row);
            }
            if !others.is_empty() {
                self.remakes.gather(others).await?;
            }
            progress(read_to.0, stream.0);
        }
        Ok(Compared { equal, differs, stream })
    }
}
