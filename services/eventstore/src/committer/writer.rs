use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bus_schema::{Checkpoint, Sequence, Source};
use metrics::Unit;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, error::Elapsed, timeout},
};
use uuid::Uuid;

use super::{
    Committer, Delivered, Inner, Item, Job, MAX_BATCH, MAX_QUEUED, MAX_QUEUED_BYTES, Upkeep,
};
use crate::{
    Position, Watermarks,
    database::{Backend, Database, LockedFile, SqlResult, bulk},
    dead_letter::MAX_PARKED,
    domain::{ApplyError, Connection, ConsumeError, Domain, Store},
    gate::Gate,
};
use chassis::{Error, failpoint, telemetry::Commits};

/// Deliveries and upkeep that wait: their senders wait for them anyway.
const MAX_JOBS: usize = 8;

/// The task behind a [`Committer`], and the only owner of the writing connection.
pub(crate) struct Writer<S: Store> {
    pub(super) store: S,
    pub(super) connection: Connection<S>,
    pub(super) watermarks: Watermarks,
    /// The aggregates of other sources that have parked events: later ones wait behind.
    pub(super) parked: HashMap<Source, HashSet<Option<Uuid>>>,
    /// What is measured of transactions with commands, and of those with others' events.
    pub(super) measured: (Commits, Commits),
    commands: mpsc::Receiver<Item<S>>,
    deliveries: mpsc::Receiver<Delivered>,
    upkeep: mpsc::Receiver<Upkeep>,
    gate: watch::Sender<Gate>,
    reverts: watch::Sender<u64>,
    /// How the connection is opened once more.
    options: <Connection<S> as sqlx::Connection>::Options,
    /// The connection is of no use any more.
    pub(super) is_lost: bool,
    /// The history that the database had when its journal was compared last.
    identity: String,
    file: Option<LockedFile>,
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("cannot fold an event")]
    Event(#[source] ApplyError),
    #[error("checkpoint of {0} changed underneath: another process applies its events, too")]
    CheckpointMoved(Source),
    #[error("database history changed: {0}")]
    Reverted(String),
    #[error("the database did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error(
        "more than {MAX_PARKED} events of {0} would be parked: retry or drop the parked ones, see \
         `agora admin dead-letters list`"
    )]
    TooManyParked(Source),
    #[error("event {found} does not continue the journal: expected {expected}")]
    NotChained { expected: Sequence, found: Sequence },
}

impl CommitError {
    /// Whether the database is to blame: the same may succeed later.
    pub(super) const fn is_of_database(&self) -> bool {
        matches!(self, Self::Database(_) | Self::TimedOut(_) | Self::Reverted(_))
    }

    /// Whether the same would fail again, so that halving the batch finds the culprit.
    pub(super) fn is_of_data<B: Backend>(&self) -> bool {
        match self {
            Self::Database(error) => B::is_data_error(error),
            Self::Event(_) => true,
            Self::CheckpointMoved(_)
            | Self::Reverted(_)
            | Self::TooManyParked(_)
            | Self::TimedOut(_)
            | Self::NotChained { .. } => false,
        }
    }
}

impl From<ConsumeError> for CommitError {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::Database(error) => Self::Database(error),
            ConsumeError::Event(error) => Self::Event(error),
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Database(error) => Self::Unavailable(error),
            CommitError::TimedOut(_) | CommitError::Reverted(_) => {
                Self::Unavailable(sqlx::Error::Protocol(error.to_string()))
            }
            other => Self::internal(other),
        }
    }
}

impl<S: Store> Writer<S> {
    /// A committer and its task, for a database that was just opened. The gate is
    /// closed until the relay has compared journal and stream.
    pub(crate) async fn open(
        store: S,
        database: Database<S::Backend>,
        watermarks: Watermarks,
    ) -> SqlResult<(Self, Committer<S>)> {
        metrics::describe_counter!(
            "agora_events_total",
            Unit::Count,
            "How many events this replica has committed to its source's journal, by what happened"
        );
        let Database { writer: mut connection, options, readers, file, .. } = database;
        let identity = S::Backend::identity(&mut connection).await?;
        let head = S::Backend::head(&mut connection).await?;
        let mut position = Position::ZERO.with(S::Domain::SOURCE, head.sequence);
        let mut parked = HashMap::new();
        for source in S::Domain::CONSUMES {
            let checkpoint = S::Backend::checkpoint(&mut connection, *source).await?;
            position = position.with(*source, checkpoint.sequence);
            let aggregates = S::Backend::parked(&mut connection, *source).await?;
            parked.insert(*source, aggregates.into_iter().collect());
        }
        watermarks.raise(position);

        let (commands, commands_taken) = mpsc::channel(MAX_QUEUED);
        let (deliveries, deliveries_taken) = mpsc::channel(MAX_JOBS);
        let (upkeep, upkeep_taken) = mpsc::channel(MAX_JOBS);
        let reverts = watch::Sender::new(0);
        let comparing = Gate::Comparing("waiting for NATS".into());
        let gate = watch::Sender::new(failpoint!(GateNeverClosed => Gate::Open, else comparing));
        let service = S::Domain::SOURCE.as_str();
        let writer = Self {
            store,
            connection,
            watermarks: watermarks.clone(),
            parked,
            measured: (Commits::new(service, "commands"), Commits::new(service, "events")),
            commands: commands_taken,
            deliveries: deliveries_taken,
            upkeep: upkeep_taken,
            gate: gate.clone(),
            reverts: reverts.clone(),
            options,
            is_lost: false,
            identity,
            file,
        };
        let inner = Inner {
            commands,
            deliveries,
            upkeep,
            bytes: Arc::new(Semaphore::new(MAX_QUEUED_BYTES)),
            gate,
            reverts,
            readers,
            watermarks,
        };
        Ok((writer, Committer { inner: Arc::new(inner) }))
    }

    /// Works until every [`Committer`] is dropped and nothing waits any more.
    pub(crate) async fn run(mut self) {
        let mut items = Vec::with_capacity(MAX_BATCH);
        let mut gate = self.gate.subscribe();
        loop {
            let open = *gate.borrow_and_update() == Gate::Open;
            tokio::select! {
                any = take_commands(&mut self.commands, &mut items), if open => {
                    if !any {
                        return;
                    }
                    let rest = items.split_off(bulk::few_statements(items.len()));
                    self.carry_out(std::mem::replace(&mut items, rest)).await;
                }
                Some(work) = self.deliveries.recv(), if open => self.deliver(work).await,
                work = self.upkeep.recv() => match work {
                    Some(work) => self.keep_up(work).await,
                    // Every committer is dropped. What waits is carried out, if it may be.
                    None if !open => return,
                    None => {}
                },
                _ = gate.changed() => {}
            }
            self.restart_wal().await;
        }
    }

    /// Who handed it over may be gone: the checkpoint tells the next one.
    async fn deliver(&mut self, work: Delivered) {
        match work {
            Delivered::Batch(Job { work, done }) => {
                done.send(self.apply_batch(work).await).ok();
            }
            Delivered::Repair(Job { work, done }) => {
                done.send(self.repair(work).await).ok();
            }
        }
    }

    async fn keep_up(&mut self, work: Upkeep) {
        match work {
            Upkeep::Import(Job { work, done }) => {
                done.send(self.import(work).await).ok();
            }
            Upkeep::Resume(Job { work, done }) => {
                done.send(self.resume(work).await).ok();
            }
            Upkeep::Anew(Job { work, done }) => {
                done.send(self.anew(work).await).ok();
            }
        }
    }

    /// Whether commands are carried out.
    pub(super) fn is_open(&self) -> bool {
        *self.gate.borrow() == Gate::Open
    }

    /// Carries out commands, those aside whose deadline has passed.
    async fn carry_out(&mut self, items: Vec<Item<S>>) {
        let now = Instant::now();
        let (late, items): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| item.origin.deadline <= now);
        for item in late {
            item.answer.send(Err(Error::DeadlineExceeded.into())).ok();
        }
        if !items.is_empty() {
            self.commit_commands(items).await;
        }
    }

    /// Begins a transaction and says where the journal ends. A transaction that was begun
    /// but whose journal cannot be read must not stay open.
    pub(super) async fn begin(&mut self) -> Result<Checkpoint, CommitError> {
        self.reconnect().await?;
        let mut begun = self.try_begin().await;
        if begun.is_err() && self.is_lost {
            // Lost since the last transaction, as after a restart of the server. Nothing of
            // this one was sent: it may begin on another connection.
            self.reconnect().await?;
            begun = self.try_begin().await;
        }
        let head = begun?;
        let seen = self.watermarks.highest(S::Domain::SOURCE);
        let remembered = Checkpoint { sequence: seen, ..head };
        failpoint!(SequenceFromMemory if seen > Sequence::ZERO => return Ok(remembered));
        if head.sequence < seen && !failpoint!(BackupUnnoticed) {
            self.rollback().await;
            self.watermarks.revert(S::Domain::SOURCE, head.sequence);
            let found =
                format!("its journal ends with {}, and ended with {seen} before", head.sequence);
            return Err(self.reverted(found));
        }
        Ok(head)
    }

    /// Begins a transaction, or finds out whether the connection is lost.
    async fn try_begin(&mut self) -> SqlResult<Checkpoint> {
        let begun = S::Backend::begin(&mut self.connection).await;
        if begun.is_err() {
            self.rollback().await;
        }
        begun
    }

    /// Opens the connection once more, if it was lost.
    pub(super) async fn reconnect(&mut self) -> Result<(), CommitError> {
        if !self.is_lost {
            return Ok(());
        }
        self.connection = self.options.connect().await?;
        let identity = S::Backend::identity(&mut self.connection).await?;
        self.is_lost = false;
        tracing::info!(source = %S::Domain::SOURCE, "reconnected to the database");
        if identity != self.identity {
            let found = format!("its history was {:?} and is {identity:?}", self.identity);
            self.identity = identity;
            return Err(self.reverted(found));
        }
        Ok(())
    }

    /// The database may lack what it held: writes wait until its journal was compared with
    /// the stream again.
    fn reverted(&self, found: String) -> CommitError {
        tracing::warn!(source = %S::Domain::SOURCE, found, "database history changed (restore or failover)");
        self.reverts.send_modify(|count| *count += 1);
        self.gate.send_replace(Gate::Comparing(format!("database history changed: {found}")));
        CommitError::Reverted(found)
    }

    /// Reads what was parked of a source, before its events are consumed again.
    pub(super) async fn resume(&mut self, source: Source) -> Result<(), Error> {
        let parked = timeout(S::Backend::MAX_TRANSACTION, self.read_parked(source)).await;
        let parked = self.ended(parked)?;
        self.parked.insert(source, parked);
        Ok(())
    }

    async fn read_parked(&mut self, source: Source) -> Result<HashSet<Option<Uuid>>, CommitError> {
        self.reconnect().await?;
        let parked = S::Backend::parked(&mut self.connection, source).await;
        if parked.is_err() {
            self.is_lost = self.connection.ping().await.is_err();
        }
        Ok(parked?.into_iter().collect())
    }

    /// Commits if `work` succeeded, rolls back if it failed.
    pub(super) async fn end<T>(&mut self, work: Result<T, CommitError>) -> Result<T, CommitError> {
        match work {
            Ok(done) => {
                if let Err(error) = S::Backend::commit(&mut self.connection).await {
                    self.rollback().await;
                    return Err(error.into());
                }
                Ok(done)
            }
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    pub(super) async fn rollback(&mut self) {
        if let Err(error) = S::Backend::rollback(&mut self.connection).await {
            // The database itself rolls back on some errors: then there is nothing left to.
            tracing::debug!(%error, "rollback failed");
            self.is_lost = self.connection.ping().await.is_err();
        }
    }

    /// What a transaction has ended with. One that was given up leaves its connection in
    /// the middle of something.
    pub(super) fn ended<T>(
        &mut self,
        tried: Result<Result<T, CommitError>, Elapsed>,
    ) -> Result<T, CommitError> {
        tried.unwrap_or_else(|_| {
            self.is_lost = true;
            Err(CommitError::TimedOut(S::Backend::MAX_TRANSACTION))
        })
    }

    /// Has the WAL start from its beginning once it is large: background checkpoints
    /// copy it, but only a moment without writers lets it be written over.
    async fn restart_wal(&mut self) {
        const MAX_WAL_BYTES: u64 = 64 * 1024 * 1024;
        let Some(LockedFile { path, .. }) = &self.file else { return };
        let large = std::fs::metadata(wal_path(path)).is_ok_and(|file| file.len() > MAX_WAL_BYTES);
        if large && let Err(error) = S::Backend::restart_wal(&mut self.connection).await {
            tracing::warn!(%error, "cannot checkpoint the WAL");
        }
    }
}

/// Adds the commands that wait to those that the last batch left; if it left none, waits
/// for one. Says whether there are any: not once every [`Committer`] is dropped.
async fn take_commands<S: Store>(
    commands: &mut mpsc::Receiver<Item<S>>,
    items: &mut Vec<Item<S>>,
) -> bool {
    if items.is_empty() {
        return commands.recv_many(items, MAX_BATCH).await > 0;
    }
    while items.len() < MAX_BATCH
        && let Ok(item) = commands.try_recv()
    {
        items.push(item);
    }
    true
}

/// The write-ahead log beside a SQLite database.
fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
