use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::File,
    path::{Path, PathBuf},
};

use bus_schema::{Checkpoint, PostId, RevisionId, Sequence, Source};
use chassis::failpoint;
use eventstore::{
    Position,
    database::{self, Backend as _, OpenError},
    dead_letter::{DeadLetter, Letters as _, MAX_PARKED},
    delivery::{Batch, Delivery},
    journal::Gathered as _,
};
use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqlitePoolOptions, SqliteSynchronous},
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{load, rows, write};
use crate::{
    domain::{FoldError, State, Touched},
    incomplete::Incomplete,
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
/// The size of a new view's pages: a fold writes each of them several times, and twice as
/// large ones cost little more than those of SQLite's own 4,096 bytes.
const PAGE_BYTES: u32 = 8_192;
static DEAD_LETTERS: Migrator = sqlx::migrate!("migrations/dead_letters");

/// The number of the last migration of the view's schema.
pub(super) fn schema_version() -> u64 {
    MIGRATIONS.iter().map(|migration| migration.version.unsigned_abs()).max().unwrap_or(0)
}

/// Opens the file of dead letters, makes it if it is absent, and migrates it.
pub(super) async fn open_letters(path: &Path) -> Result<SqliteConnection, OpenError> {
    let options = database::options(path).synchronous(SqliteSynchronous::Full);
    open(path, options, &DEAD_LETTERS).await
}

/// The view, to be written: the only owner of its writing connection.
pub struct View {
    pub(super) connection: SqliteConnection,
    pub(super) dead_letters: SqliteConnection,
    /// The first parked event of each aggregate that has one: later ones wait behind.
    parked: HashMap<(Source, Option<Uuid>), Sequence>,
    incomplete: Incomplete,
    path: PathBuf,
    letters: PathBuf,
    _checkpoints: AbortOnDropHandle<()>,
    _lock: File,
}

/// Why batches were not applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the view's database failed")]
    Database(#[from] sqlx::Error),
    /// A batch does not follow what was applied.
    #[error("checkpoint of {0} changed underneath")]
    CheckpointMoved(Source),
    /// A source's events fail one after the other.
    #[error(
        "more than {MAX_PARKED} events of {0} would be parked: retry or drop the parked ones, see \
         `agora admin dead-letters list`"
    )]
    TooManyParked(Source),
}

impl From<Error> for chassis::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error.into(),
            error @ (Error::CheckpointMoved(_) | Error::TooManyParked(_)) => Self::internal(error),
        }
    }
}

impl View {
    /// Opens a view, makes it if it is absent, and migrates it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_beside(path, &path.with_extension("dead-letters.db")).await
    }

    /// As [`Self::open`], with its dead letters in a file that another view may have, too.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_beside(path: &Path, letters: &Path) -> Result<Self, OpenError> {
        let lock = database::lock(path)?;
        // What a crash of the machine takes from the view is folded again from the
        // streams: its commits need not be synced.
        let options =
            database::options(path).synchronous(SqliteSynchronous::Normal).page_size(PAGE_BYTES);
        let connection = open(path, options, &MIGRATIONS).await?;
        let dead_letters = open_letters(letters).await?;
        let mut view = Self {
            connection,
            dead_letters,
            parked: HashMap::new(),
            incomplete: Incomplete::default(),
            path: path.to_owned(),
            letters: letters.to_owned(),
            _checkpoints: database::checkpoints(path).await?,
            _lock: lock,
        };
        view.read_parked().await.map_err(|error| OpenError::file(letters, error))?;
        Ok(view)
    }

    /// Takes the place of another view.
    pub(crate) async fn replace(&mut self, other: &Self) -> Result<(), sqlx::Error> {
        self.incomplete = other.incomplete.clone();
        self.read_parked().await
    }

    /// Closes its file tidily.
    ///
    /// # Errors
    /// What the database says.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await?;
        self.dead_letters.close().await
    }

    /// Reads what is parked.
    pub(super) async fn read_parked(&mut self) -> Result<(), sqlx::Error> {
        let (mut parked, mut events) = (HashMap::new(), Vec::new());
        for source in Source::ALL {
            let limit = u32::try_from(MAX_PARKED).unwrap_or(u32::MAX);
            let letters =
                Sqlite::letters(&mut self.dead_letters, source, Sequence::ZERO, limit).await?;
            for letter in letters {
                // They come in their order.
                parked.entry((source, letter.aggregate)).or_insert(letter.sequence);
                events.push(letter.event);
            }
        }
        self.parked = parked;
        self.incomplete.replace(events.into_iter());
        Ok(())
    }

    /// Forgets what is parked of a source.
    pub(crate) async fn forget_letters(&mut self, source: Source) -> Result<(), sqlx::Error> {
        Sqlite::forget_letters(&mut self.dead_letters, source).await?;
        self.read_parked().await
    }

    /// What is missing in the view.
    pub(crate) fn incomplete(&self) -> Incomplete {
        self.incomplete.clone()
    }

    /// The view's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Connections that only read the view.
    ///
    /// # Errors
    /// [`OpenError::Sql`].
    pub async fn readers(&self, count: u32) -> Result<SqlitePool, OpenError> {
        readers(&self.path, count).await
    }

    /// Connections that only read the dead letters.
    ///
    /// # Errors
    /// [`OpenError::Sql`].
    pub async fn letters(&self, count: u32) -> Result<SqlitePool, OpenError> {
        readers(&self.letters, count).await
    }

    /// What has been applied of a source.
    ///
    /// # Errors
    /// What the database says.
    pub async fn checkpoint(&mut self, source: Source) -> Result<Checkpoint, sqlx::Error> {
        Sqlite::checkpoint(&mut self.connection, source).await
    }

    /// What has been applied of all sources.
    ///
    /// # Errors
    /// What the database says.
    pub async fn position(&mut self) -> Result<Position, sqlx::Error> {
        let mut position = Position::ZERO;
        for source in Source::ALL {
            position = position.with(source, self.checkpoint(source).await?.sequence);
        }
        Ok(position)
    }

    /// The newest revision of the newest comment, if there is any.
    ///
    /// # Errors
    /// What the database says.
    pub async fn newest_revision(&mut self) -> Result<Option<RevisionId>, sqlx::Error> {
        let id: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT revision_id FROM revision ORDER BY comment_id DESC, revision DESC LIMIT 1",
        )
        .fetch_optional(&mut self.connection)
        .await?;
        let id = id.map(|id| RevisionId::from_slice(&id)).transpose();
        id.map_err(|error| rows::invalid("revision_id", error))
    }

    /// Applies batches of different sources with their checkpoints, in one transaction,
    /// and returns the posts that they have touched. Events that cannot be applied are
    /// parked before, in their own file: to park one twice does no harm.
    ///
    /// # Errors
    /// [`Error`]; then nothing was applied, or only the first part of each batch.
    pub async fn apply(&mut self, batches: &[Batch]) -> Result<BTreeSet<PostId>, Error> {
        match self.try_apply(batches, None).await {
            Err(Error::Database(error)) if Sqlite::is_data_error(&error) => {
                self.apply_in_parts(batches).await
            }
            applied => applied,
        }
    }

    /// Applies batches one by one; an event that the database refuses is found by halving,
    /// and parked.
    async fn apply_in_parts(&mut self, batches: &[Batch]) -> Result<BTreeSet<PostId>, Error> {
        let mut posts = BTreeSet::new();
        let mut pending: Vec<Batch> = batches.iter().rev().cloned().collect();
        while let Some(batch) = pending.pop() {
            match self.try_apply(std::slice::from_ref(&batch), None).await {
                Ok(touched) => posts.extend(touched),
                Err(Error::Database(error)) if Sqlite::is_data_error(&error) => {
                    match batch.split() {
                        Ok((first, second)) => pending.extend([second, first]),
                        Err(single) => {
                            let reason = chassis::error::chain(&error);
                            self.try_apply(&[single], Some(&reason)).await?;
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(posts)
    }

    /// Tries to apply batches; with `park`, parks their events for that reason instead.
    async fn try_apply(
        &mut self,
        batches: &[Batch],
        park: Option<&str>,
    ) -> Result<BTreeSet<PostId>, Error> {
        let applied = self.fold_and_commit(batches, park).await;
        if applied.is_err() {
            Sqlite::rollback(&mut self.connection).await.ok();
        }
        applied
    }

    async fn fold_and_commit(
        &mut self,
        batches: &[Batch],
        park: Option<&str>,
    ) -> Result<BTreeSet<PostId>, Error> {
        let mut letters = Vec::new();
        let posts = self.fold(batches, park, &mut letters).await?;
        self.park(&letters).await?;
        Sqlite::commit(&mut self.connection).await?;
        Ok(posts)
    }

    async fn fold(
        &mut self,
        batches: &[Batch],
        park: Option<&str>,
        letters: &mut Vec<DeadLetter>,
    ) -> Result<BTreeSet<PostId>, Error> {
        let (touched, events) = self.sort(batches, park, letters);
        let mut posts = BTreeSet::new();
        let mut state = load::begin(&mut self.connection, touched).await?;
        let mut newly_parked = HashSet::new();
        for (source, delivery) in events {
            let Ok(event) = &delivery.event else { continue };
            let key = (source, delivery.aggregate());
            if newly_parked.contains(&key) {
                letters.push(DeadLetter::new(source, delivery, String::new()));
                continue;
            }
            match state.fold(event) {
                Ok(()) => posts.extend(event.post_id),
                Err(error) => {
                    newly_parked.insert(key);
                    letters.push(DeadLetter::new(source, delivery, error.to_string()));
                }
            }
        }
        self.settle(&mut state).await?;
        write::changed(&mut self.connection, &state).await?;
        for Batch { source, from, to, .. } in batches {
            if !Sqlite::advance(&mut self.connection, *source, from, to).await? {
                return Err(Error::CheckpointMoved(*source));
            }
        }
        Ok(posts)
    }

    /// Sorts out what cannot be applied, and what waits behind such an event.
    fn sort<'b>(
        &self,
        batches: &'b [Batch],
        park: Option<&str>,
        letters: &mut Vec<DeadLetter>,
    ) -> (Touched, Vec<(Source, &'b Delivery)>) {
        let mut touched = Touched::default();
        let mut events = Vec::new();
        let mut newly_parked = HashSet::new();
        for batch in batches {
            for delivery in &batch.deliveries {
                let key = (batch.source, delivery.aggregate());
                // A view that is made anew applies what came before the parked event.
                let waits =
                    self.parked.get(&key).is_some_and(|parked| *parked <= delivery.sequence);
                if waits || newly_parked.contains(&key) {
                    letters.push(DeadLetter::new(batch.source, delivery, String::new()));
                    continue;
                }
                if let Some(reason) = park {
                    letters.push(DeadLetter::new(batch.source, delivery, reason.to_owned()));
                    continue;
                }
                let known = delivery.event.as_ref().map_err(ToString::to_string);
                let added = known.and_then(|event| {
                    touched.add(event).map_err(|error: FoldError| error.to_string())
                });
                match added {
                    Ok(()) => events.push((batch.source, delivery)),
                    Err(error) => {
                        newly_parked.insert(key);
                        letters.push(DeadLetter::new(batch.source, delivery, error));
                    }
                }
            }
        }
        (touched, events)
    }

    /// Brings the counts of everything above the changed comments up to date.
    pub(super) async fn settle(&mut self, state: &mut State) -> Result<(), sqlx::Error> {
        failpoint!(CountsNotKept => return Ok(()));
        for depth in (1..=state.deepest()).rev() {
            let (comments, posts) = state.missing(depth);
            load::comments(&mut self.connection, &comments, state).await?;
            load::posts(&mut self.connection, &posts, state).await?;
            state.settle(depth);
        }
        Ok(())
    }

    async fn park(&mut self, letters: &[DeadLetter]) -> Result<(), Error> {
        if letters.is_empty() {
            return Ok(());
        }
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.dead_letters).await?;
        let parked = self.park_all(letters).await;
        if parked.is_err() {
            Sqlite::rollback(&mut self.dead_letters).await.ok();
        }
        parked?;
        for letter in letters {
            letter.tell();
            self.parked.entry((letter.source, letter.aggregate)).or_insert(letter.sequence);
            self.incomplete.add(letter.event.clone());
        }
        Ok(())
    }

    async fn park_all(&mut self, letters: &[DeadLetter]) -> Result<(), Error> {
        Sqlite::park(&mut self.dead_letters, letters).await?;
        for source in Source::ALL {
            if Sqlite::count_letters(&mut self.dead_letters, source).await? > MAX_PARKED {
                return Err(Error::TooManyParked(source));
            }
        }
        Ok(Sqlite::commit(&mut self.dead_letters).await?)
    }
}

async fn readers(path: &Path, count: u32) -> Result<SqlitePool, OpenError> {
    let options = database::options(path).create_if_missing(false).read_only(true);
    let pool = SqlitePoolOptions::new()
        .max_connections(count)
        // A file does not go away as a server may.
        .test_before_acquire(false)
        .connect_with(options)
        .await;
    pool.map_err(|error| OpenError::file(path, error))
}

async fn open(
    path: &Path,
    options: sqlx::sqlite::SqliteConnectOptions,
    migrations: &Migrator,
) -> Result<SqliteConnection, OpenError> {
    let opened = options.connect().await;
    let mut connection = opened.map_err(|error| OpenError::file(path, error))?;
    database::migrate(&mut connection, path.display(), migrations).await?;
    Ok(connection)
}
