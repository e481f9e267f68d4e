//! Opening a service's database: one connection writes, a pool reads.

mod backend;
pub mod bulk;
pub mod migrate_to_postgres;
#[cfg(feature = "next")]
mod next;
pub(crate) mod postgres;
pub mod rows;
mod schema_version;
mod size;
mod sqlite;
mod watch;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bus_schema::Source;

use sqlx::{
    AssertSqlSafe, Connection, Pool, SqlSafeStr as _,
    migrate::{MigrateError, Migration, Migrator},
};

use crate::Watermarks;
use chassis::StartError;

use schema_version::Version;

pub use backend::Backend;
pub use postgres::server_readers;
pub use schema_version::Marked;
pub use size::{measure_file, measure_pool};
pub use sqlite::{checkpoints, file_readers, lock, options};
pub use watch::watch;

/// What a statement returns.
pub type SqlResult<T> = Result<T, sqlx::Error>;

/// A service's database, open and migrated.
pub struct Database<B: Backend> {
    /// The one connection that writes; every commit is synced to the disk.
    pub writer: B::Connection,
    /// How it is opened once more when it is lost.
    pub options: <B::Connection as Connection>::Options,
    /// Connections that only read.
    pub readers: Pool<B>,
    /// The database, as messages name it: without its password.
    pub name: String,
    /// Who wants to know how far the database is whenever a reader connects.
    pub arrivals: Arrivals,
    /// The file, where the database is one. One process has it at a time.
    pub file: Option<LockedFile>,
}

/// What is looked at whenever a reader connects to a server: it may be another one than
/// before, or one that was put back to an earlier state.
#[derive(Clone, Default)]
pub struct Arrivals(Arc<OnceLock<Arrival>>);

/// Whose watermarks a connection is compared with.
struct Arrival {
    service: Source,
    consumes: &'static [Source],
    watermarks: Watermarks,
}

impl Arrivals {
    /// Has these watermarks go back where a connection shows less than they say.
    pub(crate) fn tell(&self, service: Source, consumes: &'static [Source], to: &Watermarks) {
        self.0.get_or_init(|| Arrival { service, consumes, watermarks: to.clone() });
    }

    /// Compares a new connection with them.
    async fn compare<B: Backend>(&self, connection: &mut B::Connection) -> SqlResult<()> {
        let Some(Arrival { service, consumes, watermarks }) = self.0.get() else { return Ok(()) };
        // Taken before: what is committed meanwhile is no step back.
        let reached = watermarks.reached();
        let position = B::position(connection, *service, consumes).await?;
        for source in Source::ALL {
            if position.get(source) < reached.get(source) {
                tracing::warn!(%source, "the database was restored to an earlier state");
                watermarks.set(source, position.get(source));
            }
        }
        Ok(())
    }
}

/// A database's file and the lock that keeps other processes away from it.
pub struct LockedFile {
    /// The file.
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
    /// A newer program has migrated it, and this one is too old for what it made.
    #[error(
        "the database {database} belongs to a newer version of agora: {oldest} or newer is needed, \
         and this is {program}; run that version, or restore a backup"
    )]
    Newer {
        /// The database.
        database: String,
        /// The oldest program that may run on it.
        oldest: String,
        /// This program.
        program: String,
    },
    /// A migration fails.
    #[error("cannot migrate the database {database}")]
    Migrate {
        /// The database.
        database: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// The database cannot be opened.
    #[error("cannot open the database {database}")]
    Sql {
        /// The database.
        database: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// Its server could not be reached in time.
    #[error(
        "the database {database} could not be reached in {:.1} s (database.start_timeout_ms)",
        .waited.as_secs_f32()
    )]
    Away {
        /// The database.
        database: String,
        /// For how long.
        waited: Duration,
        /// Why it cannot be reached.
        #[source]
        source: Box<OpenError>,
    },
    /// The address is none.
    #[error(
        "database.url (AGORA_DATABASE__URL) is no address of a PostgreSQL database: it is written \
         postgres://user:password@host:5432/database"
    )]
    Url(#[source] sqlx::Error),
    /// The server is not set up as it must be.
    #[error("the database {database} cannot be used: {why}")]
    Unfit {
        /// The database.
        database: String,
        /// What to change.
        why: String,
    },
}

impl OpenError {
    /// Why a database cannot be opened, by what SQL says.
    pub fn sql(database: impl ToString, source: sqlx::Error) -> Self {
        Self::Sql { database: database.to_string(), source }
    }

    /// Why a file's database cannot be opened, by what SQL says.
    pub fn file(path: &Path, source: sqlx::Error) -> Self {
        Self::sql(path.display(), source)
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::Other(error.into())
    }
}

/// Migrates a database, if this program is not too old for it.
///
/// # Errors
/// [`OpenError::Newer`] and [`OpenError::Migrate`].
pub async fn migrate<C: Marked>(
    connection: &mut C,
    database: impl ToString,
    migrations: &Migrator,
) -> Result<(), OpenError> {
    let migrators = &mut [copy::<C>(migrations)];
    schema_version::migrate(connection, &database.to_string(), migrators, Version::this()).await
}

/// Migrates the event store's tables, then the service's own.
async fn migrate_owner<C: Marked>(
    connection: &mut C,
    database: impl ToString,
    chassis: &Migrator,
    service: &Migrator,
) -> Result<(), OpenError> {
    let mut own = copy::<C>(chassis);
    own.dangerous_set_table_name("_chassis_migrations");
    let migrators = &mut [own, copy::<C>(service)];
    schema_version::migrate(connection, &database.to_string(), migrators, Version::this()).await
}

/// The same migrations, by the same checksums, which do first what others must wait for.
fn copy<C: Marked>(migrator: &Migrator) -> Migrator {
    let migrations = migrator.iter().cloned();
    #[cfg(feature = "next")]
    let migrations = migrations.chain(next::migrations(migrator));
    let with_first = migrations.map(|migration| {
        let sql = format!("{}{}", C::FIRST, migration.sql.as_str());
        Migration { sql: AssertSqlSafe(sql).into_sql_str(), ..migration }
    });
    Migrator::with_migrations(with_first.collect())
}
