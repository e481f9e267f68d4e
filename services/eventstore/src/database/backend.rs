use std::{future::Future, time::Duration};

use bus_schema::{Checkpoint, Sequence, Source};
use sqlx::migrate::{Migrate, Migrator};

use super::{Database, OpenError, SqlResult};
use crate::{
    Position,
    dead_letter::{DeadLetter, Letters},
    journal::{Gathered, RequestKey, RequestRow, Row},
};
use chassis::config;

/// The SQL of the event store on one kind of database. Writes happen in transactions that
/// the committer begins with [`Backend::begin`], which locks the journal, and ends.
pub trait Backend: Letters + Gathered + sqlx::Database<Connection: Migrate> {
    /// After this time a transaction is given up, and its connection with it.
    const MAX_TRANSACTION: Duration;
    /// What it is, as traces name it: `db.system.name`.
    const SYSTEM: &'static str;

    /// Opens a service's database and migrates the event store's tables and the service's own.
    fn open(
        settings: &config::Database,
        migrations: &Migrator,
    ) -> impl Future<Output = Result<Database<Self>, OpenError>> + Send;

    /// Which history the database has: another one after a failover or a restore.
    fn identity(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = SqlResult<String>> + Send;

    /// Begins a writing transaction, locks the journal against other writers, and says
    /// where it ends.
    fn begin(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = SqlResult<Checkpoint>> + Send;

    /// Ends it and keeps what it wrote, synced to the disk.
    fn commit(connection: &mut Self::Connection) -> impl Future<Output = SqlResult<()>> + Send;

    /// Ends it and forgets what it wrote.
    fn rollback(connection: &mut Self::Connection) -> impl Future<Output = SqlResult<()>> + Send;

    /// Lets the statements of this transaction take as long as they need: for one over all
    /// events of a source.
    fn be_patient(connection: &mut Self::Connection) -> impl Future<Output = SqlResult<()>> + Send;

    /// Where the journal ends.
    fn head(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = SqlResult<Checkpoint>> + Send;

    /// Appends rows and what they answer, and moves the head to the last of them.
    fn append(
        connection: &mut Self::Connection,
        rows: &[Row],
        requests: &[RequestRow],
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// How far a service's database is: its journal's head and its checkpoints.
    fn position(
        connection: &mut Self::Connection,
        service: Source,
        consumes: &[Source],
    ) -> impl Future<Output = SqlResult<Position>> + Send {
        async move {
            let head = Self::head(connection).await?;
            let mut position = Position::ZERO.with(service, head.sequence);
            for source in consumes {
                let checkpoint = Self::checkpoint(connection, *source).await?;
                position = position.with(*source, checkpoint.sequence);
            }
            Ok(position)
        }
    }

    /// Gathers rows of a source for one large transaction.
    fn gather(
        connection: &mut Self::Connection,
        source: Source,
        rows: &[Row],
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// The rows from `from` on, at most `limit`.
    fn rows(
        connection: &mut Self::Connection,
        from: Sequence,
        limit: u32,
    ) -> impl Future<Output = SqlResult<Vec<Row>>> + Send;

    /// What is remembered of these requests.
    fn requests(
        connection: &mut Self::Connection,
        keys: &[RequestKey],
    ) -> impl Future<Output = SqlResult<Vec<RequestRow>>> + Send;

    /// What has been applied of another source.
    fn checkpoint(
        connection: &mut Self::Connection,
        source: Source,
    ) -> impl Future<Output = SqlResult<Checkpoint>> + Send;

    /// Moves a checkpoint, if it still is `from`: says whether it was.
    fn advance(
        connection: &mut Self::Connection,
        source: Source,
        from: &Checkpoint,
        to: &Checkpoint,
    ) -> impl Future<Output = SqlResult<bool>> + Send;

    /// Parks events.
    fn park(
        connection: &mut Self::Connection,
        letters: &[DeadLetter],
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// The aggregates of a source that have parked events.
    fn parked(
        connection: &mut Self::Connection,
        source: Source,
    ) -> impl Future<Output = SqlResult<Vec<Option<uuid::Uuid>>>> + Send;

    /// Has a write-ahead log that grows without bound start from its beginning, where
    /// the database has one.
    fn restart_wal(connection: &mut Self::Connection)
    -> impl Future<Output = SqlResult<()>> + Send;

    /// Whether an error is one of data, so that the same statement fails again: to be
    /// found by halving the batch. Others are of the connection, the disk or a lock.
    fn is_data_error(error: &sqlx::Error) -> bool;
}
