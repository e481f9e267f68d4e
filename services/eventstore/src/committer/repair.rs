//! Dead letters, tried again or given up: one transaction a letter, which locks the
//! journal as every other does.

use bus_schema::{Checkpoint, Event, Sequence, Source, Time};
use futures::future::BoxFuture;
use sqlx::Connection as _;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Committer, Delivered, hand_over,
    log::Log,
    writer::{CommitError, Writer},
};
use crate::{
    Position,
    database::Backend,
    dead_letter::{
        self, Action, DeadLetter, Done, Letters as _, PROGRAM, Refused, Repair, Repaired, Repairs,
    },
    domain::{Domain, Store},
    journal::RequestKey,
};
use chassis::Error;

impl<S: Store> Repairs for Committer<S> {
    fn repair(&self, repair: Repair) -> BoxFuture<'_, Result<Repaired, Refused>> {
        Box::pin(async move { hand_over(&self.inner.deliveries, Delivered::Repair, repair).await? })
    }
}

/// A letter that was tried.
struct Tried {
    letter: DeadLetter,
    log: Log,
}

impl<S: Store> Writer<S> {
    pub(super) async fn repair(&mut self, repair: Repair) -> Result<Repaired, Refused> {
        match repair {
            Repair::Retry { source, sequence, actor } => {
                let found = timeout(S::Backend::MAX_TRANSACTION, self.find(source, sequence)).await;
                let letter = self.ended(found).map_err(Error::from)??;
                self.retry(source, letter.aggregate, &actor).await
            }
            Repair::Drop { source, sequence, actor, reason } => {
                let drop = self.give_up(source, sequence, &actor, reason);
                let dropped = timeout(S::Backend::MAX_TRANSACTION, drop).await;
                let letter = self.ended(dropped).map_err(Error::from)??;
                self.retry(source, letter.aggregate, &actor).await
            }
            Repair::Outdated(source) => {
                let found = timeout(S::Backend::MAX_TRANSACTION, self.outdated(source)).await;
                let outdated = self.ended(found).map_err(Error::from)?;
                let actor = format!("agora {PROGRAM}");
                let mut repaired = Repaired::default();
                for aggregate in outdated {
                    let tried = self.retry(source, aggregate, &actor).await?;
                    repaired.applied += tried.applied;
                    repaired.stopped_at = tried.stopped_at.or(repaired.stopped_at);
                }
                Ok(repaired)
            }
        }
    }

    async fn find(
        &mut self,
        source: Source,
        sequence: Sequence,
    ) -> Result<Result<DeadLetter, Refused>, CommitError> {
        self.reconnect().await?;
        let found = dead_letter::first::<S::Backend>(&mut self.connection, source, sequence).await;
        if found.is_err() {
            self.is_lost = self.connection.ping().await.is_err();
        }
        Ok(found?)
    }

    async fn outdated(&mut self, source: Source) -> Result<Vec<Option<Uuid>>, CommitError> {
        self.reconnect().await?;
        let found = S::Backend::outdated(&mut self.connection, source).await;
        if found.is_err() {
            self.is_lost = self.connection.ping().await.is_err();
        }
        Ok(found?)
    }

    /// Takes a letter out without applying it.
    async fn give_up(
        &mut self,
        source: Source,
        sequence: Sequence,
        actor: &str,
        reason: String,
    ) -> Result<Result<DeadLetter, Refused>, CommitError> {
        self.begin().await?;
        let dropped = self.drop_first(source, sequence, actor, reason).await;
        let dropped = self.end(dropped).await?;
        Ok(dropped.map(|(letter, action)| {
            action.tell();
            letter
        }))
    }

    async fn drop_first(
        &mut self,
        source: Source,
        sequence: Sequence,
        actor: &str,
        reason: String,
    ) -> Result<Result<(DeadLetter, Action), Refused>, CommitError> {
        let found =
            dead_letter::first::<S::Backend>(&mut self.connection, source, sequence).await?;
        let letter = match found {
            Ok(letter) => letter,
            Err(refused) => return Ok(Err(refused)),
        };
        let action = Action { reason, ..Action::now(&letter, actor, Done::Dropped) };
        self.take_out(&action).await?;
        Ok(Ok((letter, action)))
    }

    /// Tries the letters of an aggregate in their order, until one cannot be applied.
    async fn retry(
        &mut self,
        source: Source,
        aggregate: Option<Uuid>,
        actor: &str,
    ) -> Result<Repaired, Refused> {
        let mut repaired = Repaired::default();
        loop {
            let tried =
                timeout(S::Backend::MAX_TRANSACTION, self.try_first(source, aggregate, actor))
                    .await;
            match self.ended(tried) {
                Ok(true) => repaired.applied += 1,
                Ok(false) => break,
                Err(error) if error.is_of_data::<S::Backend>() => {
                    let reason = chassis::error::chain(&error);
                    let blamed = self.blame(source, aggregate, actor, &reason);
                    let blamed = timeout(S::Backend::MAX_TRANSACTION, blamed).await;
                    repaired.stopped_at = self.ended(blamed).map_err(Error::from)?;
                    break;
                }
                Err(error) => return Err(Error::from(error).into()),
            }
        }
        self.resume(source).await?;
        Ok(repaired)
    }

    /// Tries the first letter of an aggregate; says whether there was one.
    async fn try_first(
        &mut self,
        source: Source,
        aggregate: Option<Uuid>,
        actor: &str,
    ) -> Result<bool, CommitError> {
        let head = self.begin().await?;
        let applied = self.apply_first(head, source, aggregate, actor).await;
        let Some(Tried { letter, log }) = self.end(applied).await? else { return Ok(false) };
        self.watermarks.raise(Position::ZERO.with(S::Domain::SOURCE, log.head.sequence));
        log.count::<S::Domain>();
        Action::now(&letter, actor, Done::Retried).tell();
        Ok(true)
    }

    async fn apply_first(
        &mut self,
        head: Checkpoint,
        source: Source,
        aggregate: Option<Uuid>,
        actor: &str,
    ) -> Result<Option<Tried>, CommitError> {
        let first = S::Backend::first_letter(&mut self.connection, source, aggregate).await?;
        let Some(letter) = first else { return Ok(None) };
        let event = Event::decode(letter.event.clone())
            .map_err(|error| CommitError::Event(error.into()))?;
        let log = if source == S::Domain::SOURCE {
            self.append_anew(head, event).await?
        } else {
            let consumed = self.store.consume(&mut self.connection, source, &[event]).await?;
            self.journal(head, consumed).await?
        };
        self.take_out(&Action::now(&letter, actor, Done::Retried)).await?;
        Ok(Some(Tried { letter, log }))
    }

    /// Appends an event anew that a fork has taken out of the journal. If its request was
    /// made again meanwhile, nothing is left to be done.
    async fn append_anew(&mut self, head: Checkpoint, event: Event) -> Result<Log, CommitError> {
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

    /// Takes a letter out, and keeps why.
    async fn take_out(&mut self, action: &Action) -> Result<(), CommitError> {
        S::Backend::unpark(&mut self.connection, action.source, action.sequence).await?;
        S::Backend::record(&mut self.connection, action).await?;
        Ok(())
    }

    /// Keeps why the first letter of an aggregate still cannot be applied.
    async fn blame(
        &mut self,
        source: Source,
        aggregate: Option<Uuid>,
        actor: &str,
        error: &str,
    ) -> Result<Option<DeadLetter>, CommitError> {
        self.begin().await?;
        let blamed = self.blame_first(source, aggregate, actor, error).await;
        self.end(blamed).await
    }

    async fn blame_first(
        &mut self,
        source: Source,
        aggregate: Option<Uuid>,
        actor: &str,
        error: &str,
    ) -> Result<Option<DeadLetter>, CommitError> {
        let connection = &mut self.connection;
        let first = S::Backend::first_letter(connection, source, aggregate).await?;
        let Some(letter) = first else { return Ok(None) };
        S::Backend::blame(connection, source, letter.sequence, error).await?;
        let action =
            Action { error: error.to_owned(), ..Action::now(&letter, actor, Done::Retried) };
        S::Backend::record(connection, &action).await?;
        action.tell();
        Ok(Some(DeadLetter { error: error.to_owned(), program: PROGRAM.to_owned(), ..letter }))
    }
}
