//! One transaction over all events of a source, which were gathered before: a rewind of
//! what a consumer has applied, and a database that is made again from its stream. What is
//! half done, nobody sees.

use std::collections::HashSet;

use bus_schema::{Checkpoint, Event, Sequence, Source, Time};
use tokio::time::timeout;

use super::{
    Committer, hand_over,
    log::Log,
    writer::{CommitError, Writer},
};
use crate::{
    Position, consumer,
    database::Backend,
    dead_letter::DeadLetter,
    delivery::{Batch, Delivery},
    domain::{Domain, Forgetting, Store},
    journal::{Gathered as _, RequestKey, Row},
};
use chassis::Error;

/// How many rows are gathered and folded at once.
const CHUNK: u32 = 1_000;
/// Why the first of a journal's own events of an aggregate is parked.
const FORKED: &str =
    "the stream holds another event at this sequence: retry appends this one again";

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
        hand_over(&self.anew, Anew::Begin(source)).await?
    }

    /// Gathers rows for [`Self::remake`].
    pub(crate) async fn gather(&self, source: Source, rows: Vec<Row>) -> Result<(), Error> {
        hand_over(&self.anew, Anew::Gather(source, rows)).await?
    }

    /// Makes the state again, from the journal up to `keep` and from what was gathered;
    /// what the journal holds after that is parked. Without `keep` from the whole journal.
    pub(crate) async fn remake(&self, keep: Option<Checkpoint>) -> Result<(), Error> {
        hand_over(&self.anew, Anew::Remake(keep)).await?
    }

    /// Forgets what was applied of a source, and applies what its owner has.
    pub(super) async fn rewind_to_owner(
        &self,
        source: Source,
        owners: &consumer::Owners,
    ) -> Result<(), Error> {
        let to = owners.head(source).await.map_err(Error::internal)?;
        tracing::warn!(%source, to = to.sequence.0, "rewinding: fetching the owner's events");
        self.begin_gathering(source).await?;
        let mut rows = owners.read(source, Sequence(1)).await.map_err(Error::internal)?;
        let mut gathered = Checkpoint::ZERO;
        while gathered.sequence < to.sequence {
            let next = rows.next().await.map_err(Error::internal)?;
            let Some(mut next) = next else { break };
            next.retain(|row| row.sequence <= to.sequence);
            for row in &next {
                gathered = gathered.extend(&row.event);
            }
            tracing::info!(%source, gathered = gathered.sequence.0, of = to.sequence.0, "rewinding");
            self.gather(source, next).await?;
        }
        if gathered != to {
            return Err(Error::internal(format!(
                "the owner's journal of {source} has a broken hash chain before {}",
                to.sequence
            )));
        }
        hand_over(&self.anew, Anew::Rewind(source, to)).await?
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

    async fn rewind(&mut self, source: Source, to: Checkpoint) -> Result<(), CommitError> {
        let head = self.begin().await?;
        let rewound = self.apply_gathered(head, source, to).await;
        // If it has failed, the next session reads again what is parked.
        let (head, letters) = self.end(rewound).await?;
        self.watermarks.revert(source, to.sequence);
        self.watermarks.raise(Position::ZERO.with(S::Domain::SOURCE, head.sequence));
        for letter in letters {
            letter.tell();
        }
        tracing::warn!(%source, to = to.sequence.0, "rewound");
        Ok(())
    }

    /// Forgets what was applied of a source, and applies what was gathered.
    async fn apply_gathered(
        &mut self,
        mut head: Checkpoint,
        source: Source,
        to: Checkpoint,
    ) -> Result<(Checkpoint, Vec<DeadLetter>), CommitError> {
        S::Backend::be_patient(&mut self.connection).await?;
        self.forget_consumed(source).await?;
        let (mut applied, mut letters) = (Checkpoint::ZERO, Vec::new());
        while applied.sequence < to.sequence {
            let from = applied.sequence.next();
            let rows = S::Backend::gathered(&mut self.connection, source, from, CHUNK).await?;
            let batch = chained(source, applied, rows)?;
            applied = batch.to;
            head = self.apply_in_parts(head, batch, &mut letters).await?;
        }
        S::Backend::scatter(&mut self.connection, source).await?;
        Ok((head, letters))
    }

    /// Applies a batch inside a transaction; an event that cannot be applied is found by
    /// halving, and parked.
    async fn apply_in_parts(
        &mut self,
        mut head: Checkpoint,
        batch: Batch,
        letters: &mut Vec<DeadLetter>,
    ) -> Result<Checkpoint, CommitError> {
        let mut pending = vec![(batch, None)];
        while let Some((batch, reason)) = pending.pop() {
            S::Backend::mark(&mut self.connection).await?;
            let applied = self.apply_and_advance(head, &batch, reason.as_deref()).await;
            match applied {
                Ok((parked, log)) => {
                    S::Backend::keep(&mut self.connection).await?;
                    head = log.head;
                    for letter in &parked {
                        self.parked.entry(letter.source).or_default().insert(letter.aggregate);
                    }
                    letters.extend(parked);
                }
                Err(error) if reason.is_none() && error.is_of_data::<S::Backend>() => {
                    S::Backend::back(&mut self.connection).await?;
                    match batch.split() {
                        Ok((first, second)) => pending.extend([(second, None), (first, None)]),
                        Err(single) => pending.push((single, Some(chassis::error::chain(&error)))),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(head)
    }

    /// Forgets what was applied and parked of another source.
    async fn forget_consumed(&mut self, source: Source) -> Result<(), CommitError> {
        S::Backend::run(&mut self.connection, S::forgetting(source).deletes).await?;
        S::Backend::forget_letters(&mut self.connection, source).await?;
        let before = S::Backend::checkpoint(&mut self.connection, source).await?;
        S::Backend::advance(&mut self.connection, source, &before, &Checkpoint::ZERO).await?;
        self.parked.insert(source, HashSet::new());
        Ok(())
    }

    async fn remake(&mut self, keep: Option<Checkpoint>) -> Result<(), CommitError> {
        let head = self.begin().await?;
        let remade = self.fold_again(head, keep.unwrap_or(head)).await;
        let (head, again) = self.end(remade).await?;
        self.watermarks.revert(S::Domain::SOURCE, head.sequence);
        for source in again {
            self.watermarks.revert(*source, Sequence::ZERO);
        }
        tracing::warn!(
            source = %S::Domain::SOURCE,
            to = head.sequence.0,
            "database restored"
        );
        Ok(())
    }

    /// Folds the journal up to `keep`, then what was gathered; says where the journal ends,
    /// and which sources' events must be applied again.
    async fn fold_again(
        &mut self,
        head: Checkpoint,
        keep: Checkpoint,
    ) -> Result<(Checkpoint, &'static [Source]), CommitError> {
        S::Backend::be_patient(&mut self.connection).await?;
        let source = S::Domain::SOURCE;
        if keep.sequence < head.sequence {
            self.park_own(keep, head).await?;
        }
        let Forgetting { deletes, again } = S::forgetting(source);
        S::Backend::run(&mut self.connection, deletes).await?;
        for consumed in again {
            self.forget_consumed(*consumed).await?;
        }
        let mut folded = Checkpoint::ZERO;
        while folded.sequence < keep.sequence {
            let from = folded.sequence.next();
            let rows = S::Backend::rows(&mut self.connection, from, CHUNK).await?;
            folded = self.fold_journal(folded, rows).await?;
        }
        loop {
            let from = folded.sequence.next();
            let rows = S::Backend::gathered(&mut self.connection, source, from, CHUNK).await?;
            if rows.is_empty() {
                break;
            }
            folded = self.fold_rows(folded, rows).await?.head;
        }
        S::Backend::scatter(&mut self.connection, source).await?;
        Ok((folded, again))
    }

    /// Folds rows that the journal holds already.
    async fn fold_journal(
        &mut self,
        folded: Checkpoint,
        rows: Vec<Row>,
    ) -> Result<Checkpoint, CommitError> {
        let Batch { to, deliveries, .. } = chained(S::Domain::SOURCE, folded, rows)?;
        let events: Result<Vec<Event>, _> =
            deliveries.into_iter().map(|delivery| delivery.event.map(|event| *event)).collect();
        let events = events.map_err(|error| CommitError::Event(error.into()))?;
        let mut state = self.store.load_for(&mut self.connection, &events).await?;
        for event in &events {
            S::Domain::apply(&mut state, event).map_err(CommitError::Event)?;
        }
        self.store.write(&mut self.connection, &state, &events).await?;
        Ok(to)
    }

    /// Takes what the journal holds after `keep` out of it, and parks it.
    async fn park_own(&mut self, keep: Checkpoint, head: Checkpoint) -> Result<(), CommitError> {
        let mut parked = HashSet::new();
        let mut from = keep.sequence.next();
        while from <= head.sequence {
            let rows = S::Backend::rows(&mut self.connection, from, CHUNK).await?;
            let Some(last) = rows.last() else { break };
            from = last.sequence.next();
            let letters: Vec<DeadLetter> = rows
                .into_iter()
                .map(|row| {
                    let delivery = Delivery::of(row);
                    let is_first = parked.insert(delivery.aggregate());
                    let reason = if is_first { FORKED } else { "" };
                    DeadLetter::new(S::Domain::SOURCE, &delivery, reason.to_owned())
                })
                .collect();
            S::Backend::park(&mut self.connection, &letters).await?;
        }
        Ok(S::Backend::cut(&mut self.connection, &keep).await?)
    }

    /// Appends an event anew that a fork has taken out of the journal. If its request was
    /// made again meanwhile, nothing is left to be done.
    pub(super) async fn append_anew(
        &mut self,
        head: Checkpoint,
        event: Event,
    ) -> Result<Log, CommitError> {
        let mut log = Log::new(S::Domain::SOURCE, head);
        if let Some(key) = RequestKey::of(&event)
            && !S::Backend::requests(&mut self.connection, &[key]).await?.is_empty()
        {
            return Ok(log);
        }
        let mut state =
            self.store.load_for(&mut self.connection, std::slice::from_ref(&event)).await?;
        let traceparent = event.traceparent.clone();
        let request = event.request;
        log.append(event.into(), request, traceparent, Time::now());
        for event in &log.events {
            S::Domain::apply(&mut state, event).map_err(CommitError::Event)?;
        }
        self.store.write(&mut self.connection, &state, &log.events).await?;
        S::Backend::append(&mut self.connection, &log.rows, &log.requests).await?;
        Ok(log)
    }
}

/// Rows as a batch, if there are any and they chain.
fn chained(source: Source, from: Checkpoint, rows: Vec<Row>) -> Result<Batch, CommitError> {
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
