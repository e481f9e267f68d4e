//! A database in a PostgreSQL server, which the replicas of a service share.

use std::{io, str::FromStr as _, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{Instant, sleep, timeout};

use super::{Arrivals, Database, OpenError, migrate_owner};
use chassis::config;

/// The event store's own tables.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The oldest server that may be used.
const OLDEST_SERVER: i32 = 15;
/// How many prepared statements a connection keeps.
const STATEMENT_CACHE: usize = 256;
/// How long a server may take to answer a service that starts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause between two tries to reach a server.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How long a reader waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// After this time an idle connection of a reader is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// After this time a connection of a reader is closed, so that they move to a new server.
const MAX_LIFETIME: Duration = Duration::from_secs(1_800);
/// How a writing session is set up. A paused writer must not keep the journal locked.
const WRITER: [(&str, &str); 4] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "2s"),
    ("default_transaction_isolation", "read committed"),
];
/// How a reading session is set up.
const READER: [(&str, &str); 3] = [
    ("statement_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "2s"),
    ("default_transaction_read_only", "on"),
];

/// A database's address.
pub(crate) struct Address {
    options: PgConnectOptions,
    /// As messages name it: without its password.
    pub(super) name: String,
}

impl Address {
    /// Reads a URL such as `postgres://user:password@host:5432/database`.
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        // The driver takes any scheme.
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(OpenError::Url(sqlx::Error::Configuration("another scheme".into())));
        }
        let options = PgConnectOptions::from_str(url).map_err(OpenError::Url)?;
        let host = options.get_host();
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let name = format!("postgres://{host}:{}/{database}", options.get_port());
        let options = options.statement_cache_capacity(STATEMENT_CACHE).disable_statement_logging();
        Ok(Self { options, name })
    }

    /// How a session of this kind is opened.
    pub(crate) fn session(&self, program: &str, settings: &[(&str, &str)]) -> PgConnectOptions {
        let options = self.options.clone().application_name(&format!("agora {program}"));
        options.options(settings.iter().copied())
    }
}

impl Database<Postgres> {
    /// Opens the database of a service that owns events, and migrates it under a lock. Waits
    /// for a server that cannot be reached yet, as after the start of a whole installation.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) async fn open_server(
        settings: &config::Database,
        migrations: &Migrator,
    ) -> Result<Self, OpenError> {
        let url = settings.url.as_ref().map_or("", config::Secret::expose);
        let address = Address::parse(url)?;
        let (started, patience) =
            (Instant::now(), Duration::from_millis(settings.start_timeout_ms));
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(MAX_PAUSE)
            .without_max_times();
        for longest in pauses.build() {
            let error = match Self::try_open_server(settings, &address, migrations).await {
                Err(error) if is_away(&error) => error,
                opened => return opened,
            };
            let waited = started.elapsed();
            let left = patience.saturating_sub(waited);
            if left.is_zero() {
                let database = address.name;
                return Err(OpenError::Away { database, waited, source: error.into() });
            }
            tracing::warn!(
                database = address.name,
                error = chassis::error::chain(&error),
                left_ms = left.as_millis(),
                "waiting for PostgreSQL"
            );
            // Full jitter: services that started together do not come back together.
            sleep(longest.mul_f64(rand::random()).min(left)).await;
        }
        unreachable!("the pauses have no end")
    }

    async fn try_open_server(
        settings: &config::Database,
        address: &Address,
        migrations: &Migrator,
    ) -> Result<Self, OpenError> {
        let sql = |source| OpenError::sql(&address.name, source);
        let unfit = |why| OpenError::Unfit { database: address.name.clone(), why };

        // Migrations may take longer than a writer's statements.
        let session = address.session("migrations", &[]);
        let mut connection = connect(&session).await.map_err(sql)?;
        check(&mut connection).await.map_err(sql)?.map_err(unfit)?;
        migrate_owner(&mut connection, &address.name, &MIGRATIONS, migrations).await?;
        connection.close().await.map_err(sql)?;

        let options = address.session("writer", &WRITER);
        let writer = connect(&options).await.map_err(sql)?;
        let arrivals = Arrivals::default();
        let readers = PgPoolOptions::new()
            // And one each for the relay, and to listen and to tell.
            .max_connections(settings.readers.saturating_add(3))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            .max_lifetime(MAX_LIFETIME)
            .after_connect({
                let arrivals = arrivals.clone();
                move |connection, _| {
                    let arrivals = arrivals.clone();
                    Box::pin(async move { arrivals.compare::<Postgres>(connection).await })
                }
            })
            .connect_with(address.session("reader", &READER))
            .await
            .map_err(sql)?;
        Ok(Self { writer, options, readers, name: address.name.clone(), arrivals, file: None })
    }
}

/// Connects to a server, which may be one that does not answer at all.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connected = timeout(CONNECT_TIMEOUT, options.connect()).await;
    connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// Whether a database cannot be opened because its server is not there, or takes no
/// connection now: the same may succeed later.
fn is_away(error: &OpenError) -> bool {
    /// SQLSTATE: is starting or stopping, was stopped, crashed, has too many connections.
    const BUSY: [&str; 4] = ["57P03", "57P01", "57P02", "53300"];
    let error = match error {
        OpenError::Sql { source, .. }
        | OpenError::Migrate {
            source: MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _),
            ..
        } => source,
        _ => return false,
    };
    match error {
        // A certificate's file cannot be read, and the like.
        sqlx::Error::Io(error) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidData
        ),
        sqlx::Error::Database(error) => error.code().is_some_and(|code| BUSY.contains(&&*code)),
        sqlx::Error::PoolTimedOut => true,
        _ => false,
    }
}

/// Connections that only read a database of another service, which need not be there yet.
///
/// # Errors
/// [`OpenError::Url`].
pub fn server_readers(url: &config::Secret, count: u32) -> Result<PgPool, OpenError> {
    let address = Address::parse(url.expose())?;
    let options = PgPoolOptions::new()
        .max_connections(count)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(MAX_LIFETIME);
    Ok(options.connect_lazy_with(address.session("fallback", &READER)))
}

/// Whether the server can be trusted with a journal, or what to change.
pub(super) async fn check(
    connection: &mut PgConnection,
) -> Result<Result<(), String>, sqlx::Error> {
    let (version, synchronous_commit, fsync, recovering): (i32, String, String, bool) =
        sqlx::query_as(
            "SELECT current_setting('server_version_num')::int / 10000, \
             current_setting('synchronous_commit'), current_setting('fsync'), pg_is_in_recovery()",
        )
        .fetch_one(connection)
        .await?;
    if version < OLDEST_SERVER {
        return Ok(Err(format!("PostgreSQL {version} is too old, {OLDEST_SERVER} is needed")));
    }
    if recovering {
        return Ok(Err("it is a standby: name the primary".into()));
    }
    if matches!(synchronous_commit.as_str(), "off" | "local") {
        return Ok(Err(format!(
            "synchronous_commit is {synchronous_commit}, so that a crash could lose what was \
             answered: set it to on"
        )));
    }
    if fsync == "off" {
        tracing::warn!("fsync is off: a crash of the machine can lose or damage the database");
    }
    Ok(Ok(()))
}
