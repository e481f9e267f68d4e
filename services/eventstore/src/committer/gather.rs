//! Events of a source are gathered before one transaction is made of all of them: a
//! rewind, or a rebuild. What is half done, nobody sees.

use bus_schema::{Checkpoint, Source};
use tokio::time::timeout;

use super::{
    Committer, Upkeep, hand_over,
    writer::{CommitError, Writer},
};
use crate::{
    database::Backend,
    delivery::{Batch, Delivery},
    domain::Store,
    journal::{Gathered as _, Row},
};
use chassis::Error;

/// How many rows are gathered and folded at once.
pub(super) const CHUNK: u32 = 1_000;

/// Work on all events of a source.
pub(crate) enum Anew {
    /// Forgets what was gathered of a source.
    Begin(Source),
    /// Gathers more.
    Gather(Source, Vec<Row>),
    /// Forgets what was applied of another source, and applies what was gathered, which
    /// ends here.
    Rewind(Source, Checkpoint),
    /// Makes the state again, from the journal up to `keep` and from what was gathered of
    /// the service's own events; what the journal holds after that is parked.
    Remake(Option<Checkpoint>),
}

impl<S: Store> Committer<S> {
    /// Forgets what was gathered of a source.
    pub(crate) async fn begin_gathering(&self, source: Source) -> Result<(), Error> {
        hand_over(&self.inner.upkeep, Upkeep::Anew, Anew::Begin(source)).await?
    }

    /// Gathers rows for [`Self::remake`].
    pub(crate) async fn gather(&self, source: Source, rows: Vec<Row>) -> Result<(), Error> {
        hand_over(&self.inner.upkeep, Upkeep::Anew, Anew::Gather(source, rows)).await?
    }
}

impl<S: Store> Writer<S> {
    pub(super) async fn anew(&mut self, work: Anew) -> Result<(), Error> {
        let done = match work {
            Anew::Begin(source) => {
                let work = timeout(S::Backend::MAX_TRANSACTION, self.scatter(source)).await;
                self.ended(work)
            }
            Anew::Gather(source, rows) => {
                let work = timeout(S::Backend::MAX_TRANSACTION, self.gather(source, &rows)).await;
                self.ended(work)
            }
            // What a rewind causes goes on from the journal, which must lack nothing.
            Anew::Rewind(..) if !self.is_open() => {
                return Err(Error::NotCompared("a rewind is pending".into()));
            }
            // However long it takes: it is one transaction over everything.
            Anew::Rewind(source, to) => self.rewind(source, to).await,
            Anew::Remake(keep) => self.remake(keep).await,
        };
        Ok(done?)
    }

    async fn scatter(&mut self, source: Source) -> Result<(), CommitError> {
        self.begin().await?;
        let done = S::Backend::scatter(&mut self.connection, source).await;
        self.end(done.map_err(CommitError::from)).await
    }

    async fn gather(&mut self, source: Source, rows: &[Row]) -> Result<(), CommitError> {
        self.begin().await?;
        let done = S::Backend::gather(&mut self.connection, source, rows).await;
        self.end(done.map_err(CommitError::from)).await
    }
}

/// Rows as a batch, if there are any and they chain.
pub(super) fn chained(
    source: Source,
    from: Checkpoint,
    rows: Vec<Row>,
) -> Result<Batch, CommitError> {
    let mut to = from;
    for row in &rows {
        let expected = to.extend(&row.event);
        if row.checkpoint() != expected {
            let (expected, found) = (expected.sequence, row.sequence);
            return Err(CommitError::NotChained { expected, found });
        }
        to = expected;
    }
    if rows.is_empty() {
        return Err(sqlx::Error::RowNotFound.into());
    }
    let deliveries = rows.into_iter().map(Delivery::of).collect();
    Ok(Batch { source, from, to, deliveries })
}
