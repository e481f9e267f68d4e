use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    path::{Path, PathBuf},
};

use bus_schema::{Checkpoint, PostId, RevisionId, Source, Time};
use chassis::{
    Position,
    consumer::{Batch, Delivery},
    database::{self, OpenError},
    dead_letter::DeadLetter,
    journal::Backend as _,
};
use sqlx::{
    ConnectOptions as _, Sqlite, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use super::{load, rows, write};
use crate::domain::{FoldError, State, Touched};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static DEAD_LETTERS: Migrator = sqlx::migrate!("migrations/dead_letters");

/// The view, to be written: the only owner of its writing connection.
pub struct View {
    connection: SqliteConnection,
    dead_letters: SqliteConnection,
    /// The aggregates that have parked events: later ones wait behind.
    parked: HashSet<(Source, Option<Uuid>)>,
    path: PathBuf,
    _lock: File,
}

/// Why batches were not applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the view's database failed")]
    Database(#[from] sqlx::Error),
    /// A batch does not follow what was applied.
    #[error("the checkpoint of {0} has moved")]
    CheckpointMoved(Source),
}

impl View {
    /// Opens a view, makes it if it is absent, and migrates it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = database::lock(path)?;
        // What a crash of the machine takes from the view is folded again from the
        // streams: its commits need not be synced.
        let options = database::options(path).synchronous(SqliteSynchronous::Normal);
        let connection = open(path, options, &MIGRATIONS).await?;
        let letters = letters_path(path);
        let options = database::options(&letters).synchronous(SqliteSynchronous::Full);
        let mut dead_letters = open(&letters, options, &DEAD_LETTERS).await?;

        let mut parked = HashSet::new();
        for source in Source::ALL {
            let aggregates = Sqlite::parked(&mut dead_letters, source).await;
            let aggregates = aggregates.map_err(|error| OpenError::file(&letters, error))?;
            parked.extend(aggregates.into_iter().map(|aggregate| (source, aggregate)));
        }
        Ok(Self { connection, dead_letters, parked, path: path.to_owned(), _lock: lock })
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
        readers(&letters_path(&self.path), count).await
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
    /// [`Error`]; then nothing was applied.
    pub async fn apply(&mut self, batches: &[Batch]) -> Result<BTreeSet<PostId>, Error> {
        let applied = self.fold_and_commit(batches).await;
        if applied.is_err() {
            Sqlite::rollback(&mut self.connection).await.ok();
        }
        applied
    }

    async fn fold_and_commit(&mut self, batches: &[Batch]) -> Result<BTreeSet<PostId>, Error> {
        let mut letters = Vec::new();
        let posts = self.fold(batches, &mut letters).await?;
        self.park(&letters).await?;
        Sqlite::commit(&mut self.connection).await?;
        Ok(posts)
    }

    async fn fold(
        &mut self,
        batches: &[Batch],
        letters: &mut Vec<DeadLetter>,
    ) -> Result<BTreeSet<PostId>, Error> {
        let (touched, events) = self.sort(batches, letters);
        let mut posts = BTreeSet::new();
        let mut state = load::begin(&mut self.connection, touched).await?;
        let mut newly_parked = HashSet::new();
        for (source, delivery) in events {
            let Ok(event) = &delivery.event else { continue };
            let key = (source, delivery.aggregate());
            if newly_parked.contains(&key) {
                letters.push(letter(source, delivery, String::new()));
                continue;
            }
            match state.fold(event) {
                Ok(()) => posts.extend(event.post_id),
                Err(error) => {
                    newly_parked.insert(key);
                    letters.push(letter(source, delivery, error.to_string()));
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
        letters: &mut Vec<DeadLetter>,
    ) -> (Touched, Vec<(Source, &'b Delivery)>) {
        let mut touched = Touched::default();
        let mut events = Vec::new();
        let mut newly_parked = HashSet::new();
        for batch in batches {
            for delivery in &batch.deliveries {
                let key = (batch.source, delivery.aggregate());
                if self.parked.contains(&key) || newly_parked.contains(&key) {
                    letters.push(letter(batch.source, delivery, String::new()));
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
                        letters.push(letter(batch.source, delivery, error));
                    }
                }
            }
        }
        (touched, events)
    }

    /// Brings the counts of everything above the changed comments up to date.
    async fn settle(&mut self, state: &mut State) -> Result<(), sqlx::Error> {
        for depth in (1..=state.deepest()).rev() {
            let (comments, posts) = state.missing(depth);
            load::comments(&mut self.connection, &comments, state).await?;
            load::posts(&mut self.connection, &posts, state).await?;
            state.settle(depth);
        }
        Ok(())
    }

    async fn park(&mut self, letters: &[DeadLetter]) -> Result<(), sqlx::Error> {
        for letter in letters {
            tracing::error!(
                source = %letter.source,
                sequence = letter.sequence.0,
                error = letter.error,
                "event parked"
            );
            metrics::counter!("agora_parked_total", "source" => letter.source.as_str())
                .increment(1);
            self.parked.insert((letter.source, letter.aggregate));
        }
        Sqlite::park(&mut self.dead_letters, letters).await
    }
}

/// Where the dead letters of a view are: a file that survives it.
fn letters_path(path: &Path) -> PathBuf {
    path.with_extension("dead-letters.db")
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

fn letter(source: Source, delivery: &Delivery, error: String) -> DeadLetter {
    DeadLetter {
        source,
        sequence: delivery.sequence,
        aggregate: delivery.aggregate(),
        event: delivery.bytes.clone(),
        error,
        parked_at: Time::now(),
    }
}
