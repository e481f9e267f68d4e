//! A database in a file.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, Sqlite, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::interval;
use tokio_util::task::AbortOnDropHandle;

use super::{Arrivals, Database, LockedFile, OpenError, migrate_owner};
use chassis::config;

/// The event store's own tables.
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

impl Database<Sqlite> {
    /// Opens the database of a service that owns events, makes it if it is absent, and
    /// migrates it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) async fn open_file(
        settings: &config::Database,
        migrations: &Migrator,
    ) -> Result<Self, OpenError> {
        let path = settings.path.clone();
        let lock = lock(&path)?;
        let sql = |source| OpenError::file(&path, source);

        let options = options(&path).synchronous(SqliteSynchronous::Full);
        let mut writer = options.connect().await.map_err(sql)?;
        migrate_owner(&mut writer, path.display(), &MIGRATIONS, migrations).await?;

        let readers = SqlitePoolOptions::new()
            // And one for the relay.
            .max_connections(settings.readers.saturating_add(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A file does not go away as a server may.
            .test_before_acquire(false)
            .connect_with(options.clone().create_if_missing(false).read_only(true))
            .await
            .map_err(sql)?;
        let name = path.display().to_string();
        let file = Some(LockedFile { path, lock });
        let arrivals = Arrivals::default();
        Ok(Self { writer, options, readers, name, arrivals, file })
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

/// Copies the WAL into the database once a second, beside the commits, so that no
/// commit has to; until what is returned is dropped.
///
/// # Errors
/// If the database cannot be opened once more.
pub async fn checkpoints(path: &Path) -> Result<AbortOnDropHandle<()>, OpenError> {
    let opened = options(path).connect().await;
    let mut connection = opened.map_err(|source| OpenError::file(path, source))?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        let mut every = interval(CHECKPOINT_EVERY);
        loop {
            every.tick().await;
            let done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection);
            if let Err(error) = done.await {
                tracing::warn!(%error, "WAL checkpoint failed");
            }
        }
    })))
}

/// Connections that only read a database of another service, which need not be there yet, and
/// may be replaced by a backup: a connection would go on reading the file that is gone.
pub fn file_readers(path: &Path, count: u32) -> SqlitePool {
    let file = Replaced::new(path);
    SqlitePoolOptions::new()
        .max_connections(count)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .before_acquire(move |_, connection| {
            let opened = Instant::now().checked_sub(connection.age);
            let is_current = opened.is_some_and(|opened| opened > file.since());
            Box::pin(async move { Ok(is_current) })
        })
        .connect_lazy_with(options(path).create_if_missing(false).read_only(true))
}

/// Notices when another file takes the place of one.
struct Replaced {
    path: PathBuf,
    /// Which file it is, and since when at the latest.
    seen: Mutex<(Option<(u64, u64)>, Instant)>,
}

impl Replaced {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: Mutex::new((identity(path), Instant::now())) }
    }

    /// Since when it has been the file that it is now: what was opened before may be another.
    fn since(&self) -> Instant {
        let now = identity(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != now {
            *seen = (now, Instant::now());
        }
        seen.1
    }
}

/// Which file a path leads to: its device and inode; none if there is none.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Makes the database's folder and takes the lock that keeps other processes away.
///
/// # Errors
/// [`OpenError::File`] or [`OpenError::InUse`].
pub fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn make(path: &Path, number: i64) {
        let mut connection = options(path).connect().await.unwrap();
        sqlx::query("CREATE TABLE t (n)").execute(&mut connection).await.unwrap();
        sqlx::query("INSERT INTO t (n) VALUES (?)")
            .bind(number)
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::Connection::close(connection).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_read_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let (path, backup) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let readers = file_readers(&path, 2);
        let read = async || {
            let read = sqlx::query_scalar::<_, i64>("SELECT n FROM t").fetch_one(&readers);
            read.await.ok()
        };
        assert_eq!(read().await, None, "there is none yet");
        make(&path, 1).await;
        assert_eq!(read().await, Some(1));
        assert_eq!(read().await, Some(1));
        make(&backup, 2).await;
        fs::rename(&backup, &path).unwrap();
        assert_eq!(read().await, Some(2));
    }
}
