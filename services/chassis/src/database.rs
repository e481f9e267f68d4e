//! Opening a service's SQLite database: one connection writes, a pool reads.

use std::{
    convert::Infallible,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::interval;

use crate::{Host, config};

/// The chassis' own tables.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another connection's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many prepared statements a connection keeps.
const STATEMENT_CACHE: usize = 256;
/// How many rows wait for whoever reads them: more are handed over at once.
const ROW_BUFFER: usize = 1_024;
/// How often the WAL is copied into the database.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// A long reader keeps the WAL from being restarted: none waits longer for a
/// connection than this.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A service's SQLite database, open and migrated. One process has it at a time.
pub struct Database {
    /// The one connection that writes; every commit is synced to the disk.
    pub writer: SqliteConnection,
    /// Connections that only read.
    pub readers: SqlitePool,
    /// The database's file.
    pub path: PathBuf,
    /// Hold it as long as the database is open.
    pub lock: File,
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder or file cannot be made or written.
    #[error("cannot use the database file {path}: is its folder writable?")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the database {path} is in use by another process: stop that one first")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer program has migrated it.
    #[error(
        "the database {path} belongs to a newer version of agora (its migration {migration} is \
         unknown here): run that version, or restore a backup"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The migration that is not known here.
        migration: i64,
    },
    /// A migration fails.
    #[error("cannot migrate the database {path}")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// The database cannot be opened.
    #[error("cannot open the database {path}")]
    Sql {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
}

impl Database {
    /// Opens the database of a service that owns events, makes it if it is absent, and
    /// migrates the chassis' tables and the service's own.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        settings: &config::Database,
        migrations: &Migrator,
    ) -> Result<Self, OpenError> {
        let path = settings.path.clone();
        let lock = lock(&path)?;
        let sql = |source| OpenError::Sql { path: path.clone(), source };

        let options = options(&path).synchronous(SqliteSynchronous::Full);
        let mut writer = options.connect().await.map_err(sql)?;
        let mut chassis = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        chassis.dangerous_set_table_name("_chassis_migrations");
        for migrator in [&chassis, migrations] {
            let migrated = migrator.run_direct(None, &mut writer, false).await;
            migrated.map_err(|error| OpenError::migrating(&path, error))?;
        }

        let readers = SqlitePoolOptions::new()
            // And one for the relay.
            .max_connections(settings.readers.saturating_add(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A file does not go away as a server may.
            .test_before_acquire(false)
            .connect_with(options.clone().create_if_missing(false).read_only(true))
            .await
            .map_err(sql)?;
        Ok(Self { writer, readers, path, lock })
    }
}

/// How every connection to a service's database is opened. WAL checkpoints are not
/// made by the commit that fills the WAL, but beside the committer.
pub fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging()
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", "-32000")
}

/// The write-ahead log beside a database.
pub fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Copies the WAL into the database once a second, beside the commits, so that no
/// commit has to.
///
/// # Errors
/// If the database cannot be opened once more.
pub async fn spawn_checkpoints(
    host: &mut Host,
    service: &str,
    path: &Path,
) -> Result<(), OpenError> {
    let opened = options(path).connect().await;
    let mut connection =
        opened.map_err(|source| OpenError::Sql { path: path.to_owned(), source })?;
    let shutdown = host.shutdown();
    host.spawn(&format!("{service} WAL checkpoints"), async move {
        let mut every = interval(CHECKPOINT_EVERY);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            let done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection);
            if let Err(error) = done.await {
                tracing::warn!(%error, "WAL checkpoint failed");
            }
        }
        Ok::<(), Infallible>(())
    });
    Ok(())
}

/// Makes the database's folder and takes the lock that keeps other processes away.
///
/// # Errors
/// [`OpenError::File`] or [`OpenError::InUse`].
pub fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::create(PathBuf::from(name)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

impl OpenError {
    /// Why the migrations of a database have failed.
    pub fn migrating(path: &Path, error: MigrateError) -> Self {
        let path = path.to_owned();
        match error {
            MigrateError::VersionMissing(migration) => Self::Newer { path, migration },
            source => Self::Migrate { path, source },
        }
    }
}
