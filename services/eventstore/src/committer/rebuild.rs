//! A database that is made again, in one transaction, from its journal and its stream.

use std::collections::HashSet;

use bus_schema::{Checkpoint, Event, Sequence, Source};

use super::{
    Committer, Upkeep,
    gather::{Anew, CHUNK, chained},
    hand_over,
    writer::{CommitError, Writer},
};
use crate::{
    database::Backend,
    dead_letter::DeadLetter,
    delivery::{Batch, Delivery},
    domain::{Domain, Forgetting, Store},
    journal::{Gathered as _, Row},
};
use chassis::Error;

/// Why the first of a journal's own events of an aggregate is parked.
const FORKED: &str =
    "the stream holds another event at this sequence: retry appends this one again";

impl<S: Store> Committer<S> {
    /// Makes the state again, from the journal up to `keep` and from what was gathered;
    /// what the journal holds after that is parked. Without `keep` from the whole journal.
    pub(crate) async fn remake(&self, keep: Option<Checkpoint>) -> Result<(), Error> {
        hand_over(&self.inner.upkeep, Upkeep::Anew, Anew::Remake(keep)).await?
    }
}

impl<S: Store> Writer<S> {
    pub(super) async fn remake(&mut self, keep: Option<Checkpoint>) -> Result<(), CommitError> {
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
}
