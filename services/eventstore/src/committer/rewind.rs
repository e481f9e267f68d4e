//! A rewind: what was applied of a source is forgotten, and its owner's events are folded
//! again, in one transaction.

use std::collections::HashSet;

use bus_schema::{Checkpoint, Sequence, Source};
use chassis::Error;

use super::{
    Committer, Upkeep,
    gather::{Anew, CHUNK, chained},
    hand_over,
    writer::{CommitError, Writer},
};
use crate::{
    Position, consumer,
    database::Backend,
    dead_letter::DeadLetter,
    delivery::Batch,
    domain::{Domain, Store},
    journal::Gathered as _,
};

impl<S: Store> Committer<S> {
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
        hand_over(&self.inner.upkeep, Upkeep::Anew, Anew::Rewind(source, to)).await?
    }
}

impl<S: Store> Writer<S> {
    pub(super) async fn rewind(
        &mut self,
        source: Source,
        to: Checkpoint,
    ) -> Result<(), CommitError> {
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
    pub(super) async fn forget_consumed(&mut self, source: Source) -> Result<(), CommitError> {
        S::Backend::run(&mut self.connection, S::forgetting(source).deletes).await?;
        S::Backend::forget_letters(&mut self.connection, source).await?;
        let before = S::Backend::checkpoint(&mut self.connection, source).await?;
        S::Backend::advance(&mut self.connection, source, &before, &Checkpoint::ZERO).await?;
        self.parked.insert(source, HashSet::new());
        Ok(())
    }
}
