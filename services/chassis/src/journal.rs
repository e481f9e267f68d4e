//! The journal: the append-only, hash-chained table of a source's events, in the
//! same database and the same transactions as the source's state.

mod gathered;
mod postgres;
mod sqlite;

use std::{future::Future, time::Duration};

use bus_schema::{Checkpoint, Event, Hash, RequestMark, Sequence, Site, Source};
use bytes::Bytes;
use sqlx::migrate::{Migrate, Migrator};

use crate::{
    Host, Position, Watermarks, config,
    database::{Database, OpenError},
    dead_letter::{DeadLetter, Letters},
    leader::Leadership,
};

pub use gathered::Gathered;

/// One row of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The event's number.
    pub sequence: Sequence,
    /// The chain up to and with this event.
    pub hash: Hash,
    /// The event, encoded.
    pub event: Bytes,
}

impl Row {
    /// The head of a journal that ends with this row.
    pub const fn checkpoint(&self) -> Checkpoint {
        Checkpoint { sequence: self.sequence, hash: self.hash }
    }
}

/// How a request is found again: its id, then a hash of site, actor and method. The
/// same id from another actor is another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey([u8; 32]);

impl RequestKey {
    /// The key of a request.
    pub fn new(mark: &RequestMark, site: &Site, actor: &str, method: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [site.as_str(), actor, method] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut key = [0; 32];
        key[..16].copy_from_slice(mark.id.as_bytes());
        hasher.finalize_xof().fill(&mut key[16..]);
        Self(key)
    }

    /// The key of the request that made an event, if one did.
    pub fn of(event: &Event) -> Option<Self> {
        let mark = event.request.as_ref()?;
        let method = bus_schema::kind_name(&event.kind);
        Some(Self::new(mark, &event.site, &event.actor, method))
    }

    /// As the database holds it.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What the journal remembers of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// How it is found again.
    pub key: RequestKey,
    /// The event that answers it.
    pub sequence: Sequence,
    /// Keyed BLAKE3 of the request.
    pub hash: [u8; 32],
}

/// The SQL of the chassis on one kind of database. Writes happen in transactions that
/// the committer begins with [`Backend::begin`], which locks the journal, and ends.
pub trait Backend: Letters + Gathered + sqlx::Database<Connection: Migrate> {
    /// After this time a transaction is given up, and its connection with it.
    const MAX_TRANSACTION: Duration;
    /// What it is, as traces name it: `db.system.name`.
    const SYSTEM: &'static str;

    /// Opens a service's database and migrates the chassis' tables and the service's own.
    fn open(
        settings: &config::Database,
        migrations: &Migrator,
    ) -> impl Future<Output = Result<Database<Self>, OpenError>> + Send;

    /// Has replicas that share the database elect the one that leads, and learn of each
    /// other's commits.
    fn attend(
        host: &mut Host,
        service: Source,
        consumes: &'static [Source],
        database: &Database<Self>,
        watermarks: &Watermarks,
    ) -> Leadership;

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

/// What a statement returns.
pub type SqlResult<T> = Result<T, sqlx::Error>;

/// A hash or key as a row holds it.
fn bytes32(bytes: &[u8]) -> SqlResult<[u8; 32]> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("32 bytes were expected".into()))
}
