use std::collections::HashSet;

use bus_schema::{Checkpoint, Source, Time};
use tokio::time::{Instant, timeout};

use super::{
    log::Log,
    writer::{CommitError, Writer},
};
use crate::{
    Position,
    database::Backend,
    dead_letter::{DeadLetter, Letters as _, MAX_PARKED},
    delivery::Batch,
    domain::{Caused, Consumed, Domain, State, Store},
};
use chassis::{Error, failpoint};

impl<S: Store> Writer<S> {
    /// Applies events of another source, with their checkpoint and with what they
    /// cause, in one transaction. An event that cannot be applied is found by halving,
    /// and parked.
    pub(super) async fn apply_batch(&mut self, batch: Batch) -> Result<(), Error> {
        let mut pending = vec![batch];
        while let Some(batch) = pending.pop() {
            let tried = timeout(S::Backend::MAX_TRANSACTION, self.try_batch(&batch, None)).await;
            match self.ended(tried) {
                Ok(()) => {}
                Err(error) if error.is_of_data::<S::Backend>() => match batch.split() {
                    Ok((first, second)) => pending.extend([second, first]),
                    Err(single) => {
                        let reason = chassis::error::chain(&error);
                        let park = self.try_batch(&single, Some(&reason));
                        let parked = timeout(S::Backend::MAX_TRANSACTION, park).await;
                        self.ended(parked)?;
                    }
                },
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Tries to apply a batch; with `park`, parks its events for that reason instead.
    async fn try_batch(&mut self, batch: &Batch, park: Option<&str>) -> Result<(), CommitError> {
        failpoint!(CheckpointOutsideTheTransaction => self.advance_alone(batch).await?);
        let began = Instant::now();
        let head = self.begin().await?;
        let applied = self.apply_and_advance(head, batch, park).await;
        let (letters, log) = self.end(applied).await?;

        let position = Position::ZERO.with(S::Domain::SOURCE, log.head.sequence);
        self.watermarks.raise(position.with(batch.source, batch.to.sequence));
        log.count::<S::Domain>();
        self.measured.1.record(began.elapsed(), batch.deliveries.len());
        for letter in letters {
            letter.tell();
            self.parked.entry(letter.source).or_default().insert(letter.aggregate);
        }
        Ok(())
    }

    /// The bug that a checkpoint is committed before what it stands for.
    async fn advance_alone(
        &mut self,
        Batch { source, from, to, .. }: &Batch,
    ) -> Result<(), CommitError> {
        self.begin().await?;
        let advanced = S::Backend::advance(&mut self.connection, *source, from, to).await;
        self.end(advanced.map_err(CommitError::from)).await?;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        Ok(())
    }

    pub(super) async fn apply_and_advance(
        &mut self,
        head: Checkpoint,
        batch: &Batch,
        park: Option<&str>,
    ) -> Result<(Vec<DeadLetter>, Log), CommitError> {
        self.look_again(batch.source).await?;
        let (events, letters) = self.sort(batch, park);
        let consumed = self.store.consume(&mut self.connection, batch.source, &events).await?;
        let log = self.journal(head, consumed).await?;
        self.park(batch.source, &letters).await?;
        let advanced =
            S::Backend::advance(&mut self.connection, batch.source, &batch.from, &batch.to).await?;
        if !advanced && !failpoint!(CheckpointOutsideTheTransaction) {
            return Err(CommitError::CheckpointMoved(batch.source));
        }
        Ok((letters, log))
    }

    /// Reads once more what is parked, if anything is: another replica may have applied it,
    /// and nothing must wait behind what has gone.
    async fn look_again(&mut self, source: Source) -> Result<(), CommitError> {
        if self.parked.get(&source).is_none_or(HashSet::is_empty) {
            return Ok(());
        }
        let parked = S::Backend::parked(&mut self.connection, source).await?;
        self.parked.insert(source, parked.into_iter().collect());
        Ok(())
    }

    /// Sorts out what cannot be applied, and what waits behind such an event.
    fn sort(&self, batch: &Batch, park: Option<&str>) -> (Vec<bus_schema::Event>, Vec<DeadLetter>) {
        let parked = self.parked.get(&batch.source);
        let mut newly_parked = Vec::new();
        let (mut events, mut letters) = (Vec::new(), Vec::new());
        for delivery in &batch.deliveries {
            failpoint!(EventDropped if delivery.sequence.0.is_multiple_of(100) => continue);
            let aggregate = delivery.aggregate();
            let waits = parked.is_some_and(|parked| parked.contains(&aggregate))
                || newly_parked.contains(&aggregate);
            match (&delivery.event, park) {
                (_, Some(reason)) => {
                    letters.push(DeadLetter::new(batch.source, delivery, reason.to_owned()))
                }
                (_, None) if waits => {
                    letters.push(DeadLetter::new(batch.source, delivery, String::new()))
                }
                (Ok(event), None) => events.push(event.as_ref().clone()),
                (Err(error), None) => {
                    newly_parked.push(aggregate);
                    letters.push(DeadLetter::new(batch.source, delivery, error.to_string()));
                }
            }
        }
        (events, letters)
    }

    async fn park(&mut self, source: Source, letters: &[DeadLetter]) -> Result<(), CommitError> {
        if letters.is_empty() {
            return Ok(());
        }
        S::Backend::park(&mut self.connection, letters).await?;
        let parked = S::Backend::count_letters(&mut self.connection, source).await?;
        if parked > MAX_PARKED { Err(CommitError::TooManyParked(source)) } else { Ok(()) }
    }

    /// Journals and writes what consumed events cause.
    pub(super) async fn journal(
        &mut self,
        head: Checkpoint,
        consumed: Consumed<State<S>>,
    ) -> Result<Log, CommitError> {
        let Consumed { caused, mut state } = consumed;
        let now = Time::now();
        let mut log = Log::new(S::Domain::SOURCE, head);
        for Caused { draft, traceparent } in caused {
            log.append(draft, None, traceparent, now);
        }
        for event in &log.events {
            S::Domain::apply(&mut state, event).map_err(CommitError::Event)?;
        }
        self.store.write(&mut self.connection, &state, &log.events).await?;
        S::Backend::append(&mut self.connection, &log.rows, &log.requests).await?;
        Ok(log)
    }
}
