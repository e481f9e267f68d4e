use bus_schema::{Checkpoint, Event};
use tokio::time::timeout;

use super::{
    log::Log,
    writer::{CommitError, Writer},
};
use crate::{
    Position,
    database::Backend,
    domain::{Domain, Store},
    journal::Row,
};
use chassis::Error;

impl<S: Store> Writer<S> {
    /// Folds rows that a stream holds beyond the journal into state and journal, in one
    /// transaction.
    pub(super) async fn import(&mut self, rows: Vec<Row>) -> Result<(), Error> {
        let imported = timeout(S::Backend::MAX_TRANSACTION, self.try_import(rows)).await;
        Ok(self.ended(imported)?)
    }

    async fn try_import(&mut self, rows: Vec<Row>) -> Result<(), CommitError> {
        let head = self.begin().await?;
        let imported = self.fold_rows(head, rows).await;
        let log = self.end(imported).await?;
        self.watermarks.raise(Position::ZERO.with(S::Domain::SOURCE, log.head.sequence));
        Ok(())
    }

    pub(super) async fn fold_rows(
        &mut self,
        head: Checkpoint,
        rows: Vec<Row>,
    ) -> Result<Log, CommitError> {
        let mut log = Log::new(S::Domain::SOURCE, head);
        for row in rows {
            let expected = log.head.extend(&row.event);
            if row.checkpoint() != expected {
                let (expected, found) = (expected.sequence, row.sequence);
                return Err(CommitError::NotChained { expected, found });
            }
            let event = Event::decode(row.event.clone())
                .map_err(|error| CommitError::Event(error.into()))?;
            log.push(row, event);
        }
        let mut state = self.store.load_for(&mut self.connection, &log.events).await?;
        for event in &log.events {
            S::Domain::apply(&mut state, event).map_err(CommitError::Event)?;
        }
        self.store.write(&mut self.connection, &state, &log.events).await?;
        S::Backend::append(&mut self.connection, &log.rows, &log.requests).await?;
        Ok(log)
    }
}
