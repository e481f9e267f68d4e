//! Which programs may run on a schema. Each migration names the oldest that may; the
//! greatest of them is kept in the database, so that an older program knows whether it may
//! go on with a schema that has migrations which it does not know.

use std::{fmt, str::FromStr};

use sqlx::{
    PgConnection, SqliteConnection,
    migrate::{Migrate, MigrateError, Migrator},
};

use super::OpenError;
use crate::database::SqlResult;
use chassis::version::PROGRAM;

/// What the line of a migration begins with that names a program.
pub(super) const MARK: &str = "-- Oldest program that may still run on this schema: ";
const MAKE: &str = "CREATE TABLE IF NOT EXISTS _oldest_program (version TEXT NOT NULL)";
const READ: &str = "SELECT version FROM _oldest_program";
const CLEAR: &str = "DELETE FROM _oldest_program";

/// A program's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u64, u64, u64);

impl Version {
    /// That of this program.
    pub(super) fn this() -> Self {
        PROGRAM.parse().unwrap_or(Self(0, 0, 0))
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().trim_end_matches('.').splitn(3, '.').map(str::parse);
        let mut next = || parts.next().unwrap_or(Ok(0));
        Ok(Self(next()?, next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// How often a migration is begun again that has got in the way of somebody else.
const MAX_TRIES: u32 = 20;

/// A connection to a database that keeps the oldest program.
pub trait Marked: Migrate {
    /// What each migration does first.
    const FIRST: &str;

    /// The oldest program that may run on the schema, if one was kept.
    fn oldest_program(&mut self) -> impl Future<Output = SqlResult<Option<String>>> + Send;

    /// Keeps the oldest program that may run on the schema.
    fn set_oldest_program(&mut self, version: &str) -> impl Future<Output = SqlResult<()>> + Send;
}

impl Marked for SqliteConnection {
    /// There is one process.
    const FIRST: &str = "";

    async fn oldest_program(&mut self) -> SqlResult<Option<String>> {
        sqlx::query(MAKE).execute(&mut *self).await?;
        sqlx::query_scalar(READ).fetch_optional(self).await
    }

    async fn set_oldest_program(&mut self, version: &str) -> SqlResult<()> {
        sqlx::query(CLEAR).execute(&mut *self).await?;
        let insert = sqlx::query("INSERT INTO _oldest_program (version) VALUES (?)");
        insert.bind(version).execute(self).await?;
        Ok(())
    }
}

impl Marked for PgConnection {
    /// Other replicas write meanwhile, and each of their transactions locks the journal first,
    /// then one table after the other. In another order the two would wait for each other.
    const FIRST: &str = "DO $$ BEGIN \
         IF to_regclass('journal_head') IS NOT NULL THEN \
             LOCK TABLE journal_head IN ACCESS EXCLUSIVE MODE; \
         END IF; \
     END $$;\n";

    async fn oldest_program(&mut self) -> SqlResult<Option<String>> {
        sqlx::query(MAKE).execute(&mut *self).await?;
        sqlx::query_scalar(READ).fetch_optional(self).await
    }

    async fn set_oldest_program(&mut self, version: &str) -> SqlResult<()> {
        sqlx::query(CLEAR).execute(&mut *self).await?;
        let insert = sqlx::query("INSERT INTO _oldest_program (version) VALUES ($1)");
        insert.bind(version).execute(self).await?;
        Ok(())
    }
}

/// Migrates a database with these, in this order, as a program of this version.
pub(super) async fn migrate<C: Marked>(
    connection: &mut C,
    database: &str,
    migrators: &mut [Migrator],
    program: Version,
) -> Result<(), OpenError> {
    let sql = |error| OpenError::sql(database, error);
    let locking = |source| OpenError::Migrate { database: database.to_owned(), source };
    // Replicas start at the same time. An error ends the session, and with it the lock.
    connection.lock().await.map_err(locking)?;
    let kept = connection.oldest_program().await.map_err(sql)?;
    let kept = kept.and_then(|version| version.parse::<Version>().ok());
    if let Some(oldest) = kept.filter(|oldest| *oldest > program) {
        let (oldest, program) = (oldest.to_string(), program.to_string());
        return Err(OpenError::Newer { database: database.to_owned(), oldest, program });
    }
    let mut oldest = kept;
    for migrator in migrators {
        // What a newer program has added does not disturb this one: it would say so.
        migrator.set_ignore_missing(true);
        let mut tries = 1..MAX_TRIES;
        while let Err(source) = migrator.run_direct(None, connection, false).await {
            // Readers may have locked tables in another order. They have got on since.
            if !is_deadlock(&source) || tries.next().is_none() {
                return Err(OpenError::Migrate { database: database.to_owned(), source });
            }
        }
        oldest = oldest.max(migrator.iter().map(|migration| asked(migration.sql.as_str())).max());
    }
    if let Some(oldest) = oldest.filter(|_| oldest != kept) {
        connection.set_oldest_program(&oldest.to_string()).await.map_err(sql)?;
    }
    connection.unlock().await.map_err(locking)
}

/// Whether the server has given a migration up so that others get on.
fn is_deadlock(error: &MigrateError) -> bool {
    const DEADLOCK_DETECTED: &str = "40P01";
    let MigrateError::ExecuteMigration(sqlx::Error::Database(error), _) = error else {
        return false;
    };
    error.code().as_deref() == Some(DEADLOCK_DETECTED)
}

/// The oldest program that a migration names; if it names none, the newest there is.
fn asked(migration: &str) -> Version {
    let named = migration.lines().find_map(|line| line.strip_prefix(MARK)?.parse().ok());
    named.unwrap_or_else(Version::this)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqlSafeStr as _, migrate::Migration};

    use super::*;

    fn migration(version: i64, oldest: &str) -> Migration {
        let sql =
            sqlx::AssertSqlSafe(format!("{MARK}{oldest}.\nCREATE TABLE t{version} (n INTEGER);"));
        let kind = sqlx::migrate::MigrationType::Simple;
        Migration::new(version, "test".into(), kind, sql.into_sql_str(), false)
    }

    /// A program of this version, which knows these migrations.
    async fn run(
        connection: &mut SqliteConnection,
        program: &str,
        migrations: &[(i64, &str)],
    ) -> Result<(), OpenError> {
        let known = migrations.iter().map(|(version, oldest)| migration(*version, oldest));
        let migrator = Migrator::with_migrations(known.collect());
        migrate(connection, "test", &mut [migrator], program.parse().unwrap()).await
    }

    #[tokio::test]
    async fn an_older_program_runs_on_a_newer_schema_that_allows_it() {
        let mut connection = SqliteConnection::connect(":memory:").await.unwrap();
        let (old, new) = ([(1, "0.1.0")], [(1, "0.1.0"), (2, "0.1.0")]);
        run(&mut connection, "0.1.0", &old).await.unwrap();
        run(&mut connection, "0.2.0", &new).await.unwrap();
        // Rolled back by one version, and upgraded again.
        run(&mut connection, "0.1.0", &old).await.unwrap();
        run(&mut connection, "0.2.0", &new).await.unwrap();

        let newest = [(1, "0.1.0"), (2, "0.1.0"), (3, "0.2.0")];
        run(&mut connection, "0.3.0", &newest).await.unwrap();
        run(&mut connection, "0.2.0", &new).await.unwrap();
        let refused = run(&mut connection, "0.1.9", &old).await.unwrap_err().to_string();
        assert!(refused.contains("0.2.0 or newer is needed, and this is 0.1.9"), "{refused}");
    }

    #[test]
    fn versions_are_compared_by_number() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("0.10.0") > version("0.9.9"));
        assert_eq!(version("1.2"), version("1.2.0"));
        assert_eq!(asked(&format!("-- A table.\n{MARK}1.2.3.\nSELECT 1")), version("1.2.3"));
        assert_eq!(asked("SELECT 1"), Version::this());
    }
}
