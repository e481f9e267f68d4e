//! Copies of a view for new replicas: one file with the view and what is parked of it.

use std::path::Path;

use bus_schema::Source;
use eventstore::{
    Position,
    database::{self, Backend as _, OpenError},
};
use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use super::view;

/// Why a copy is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// Another program has made it.
    #[error("it has version {0} of the schema")]
    Schema(u64),
    /// It is broken.
    #[error("its file is damaged: {0}")]
    Damaged(String),
    /// It lacks its indexes, or had never caught up.
    #[error("it is not complete")]
    Incomplete,
    /// It is no such file.
    #[error("its file cannot be read")]
    Sql(#[from] sqlx::Error),
}

/// The file itself, without a log beside it.
fn options(path: &Path) -> SqliteConnectOptions {
    database::options(path).create_if_missing(false).journal_mode(SqliteJournalMode::Delete)
}

/// Copies a view that others go on to write, with what is parked of what it includes.
pub(crate) async fn copy(view: &Path, letters: &Path, to: &Path) -> Result<(), OpenError> {
    let sql = |error| OpenError::file(to, error);
    let connected = database::options(view).create_if_missing(false).connect().await;
    let mut connection = connected.map_err(|error| OpenError::file(view, error))?;
    let copied = sqlx::query("VACUUM INTO ?").bind(to.display().to_string());
    copied.execute(&mut connection).await.map_err(sql)?;
    connection.close().await.map_err(sql)?;

    let mut connection = options(to).connect().await.map_err(sql)?;
    add_letters(&mut connection, letters).await.map_err(sql)?;
    connection.close().await.map_err(sql)
}

/// What is parked beyond the checkpoints comes from the streams once more.
async fn add_letters(connection: &mut SqliteConnection, letters: &Path) -> Result<(), sqlx::Error> {
    attach(connection, letters).await?;
    sqlx::raw_sql(
        "CREATE TABLE parked AS \
         SELECT source, sequence, aggregate, event, error, parked_at, program \
         FROM attached.dead_letter AS letter WHERE sequence <= \
             (SELECT sequence FROM main.checkpoint WHERE checkpoint.source = letter.source); \
         DETACH DATABASE attached",
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn attach(connection: &mut SqliteConnection, path: &Path) -> Result<(), sqlx::Error> {
    let attach = sqlx::query("ATTACH DATABASE ? AS attached").bind(path.display().to_string());
    attach.execute(connection).await?;
    Ok(())
}

/// What a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) schema_version: u64,
    pub(crate) position: Position,
}

/// Says what a copy is, whoever has made it.
pub(crate) async fn describe(copy: &Path) -> Result<Description, sqlx::Error> {
    let mut connection = options(copy).connect().await?;
    let schema_version: i64 =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await?;
    let mut position = Position::ZERO;
    for source in Source::ALL {
        let checkpoint = Sqlite::checkpoint(&mut connection, source).await?;
        position = position.with(source, checkpoint.sequence);
    }
    connection.close().await?;
    Ok(Description { schema_version: schema_version.unsigned_abs(), position })
}

/// Whether this program goes on with a schema: it migrates none that another replica may
/// have.
pub(crate) fn check_schema(version: u64) -> Result<(), CopyError> {
    if version == view::schema_version() { Ok(()) } else { Err(CopyError::Schema(version)) }
}

/// Whether a copy can be gone on with by this program.
pub(crate) async fn check(copy: &Path) -> Result<Position, CopyError> {
    let mut connection = options(copy).connect().await?;
    // Indexes were made anew for the copy: they need not be compared with their tables.
    let said: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    connection.close().await?;
    if said != "ok" {
        return Err(CopyError::Damaged(said));
    }
    let Description { schema_version, position } = describe(copy).await?;
    check_schema(schema_version)?;
    let mut connection = options(copy).connect().await?;
    let is_complete: bool = sqlx::query_scalar(
        "SELECT complete AND NOT EXISTS \
             (SELECT 1 FROM sqlite_master WHERE name = 'missing_index') FROM beside",
    )
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    if is_complete { Ok(position) } else { Err(CopyError::Incomplete) }
}

/// Makes a view of a copy: what is parked of it takes the place of what was parked before.
pub(crate) async fn unpack(copy: &Path, letters: &Path) -> Result<(), OpenError> {
    let sql = |error| OpenError::file(copy, error);
    let mut connection = view::open_letters(letters).await?;
    attach(&mut connection, copy).await.map_err(sql)?;
    sqlx::raw_sql(
        "BEGIN IMMEDIATE; \
         DELETE FROM main.dead_letter; \
         INSERT INTO main.dead_letter \
             (source, sequence, aggregate, event, error, parked_at, program) \
             SELECT source, sequence, aggregate, event, error, parked_at, program \
             FROM attached.parked; \
         COMMIT; \
         DETACH DATABASE attached",
    )
    .execute(&mut connection)
    .await
    .map_err(sql)?;
    connection.close().await.map_err(sql)?;

    let mut connection = options(copy).connect().await.map_err(sql)?;
    sqlx::raw_sql("DROP TABLE parked").execute(&mut connection).await.map_err(sql)?;
    connection.close().await.map_err(sql)
}

#[cfg(test)]
mod tests {
    use bus_schema::{Checkpoint, Hash, Sequence, Time};
    use eventstore::dead_letter::{DeadLetter, Letters as _};
    use tempfile::TempDir;

    use super::{super::View, *};

    fn letter(sequence: u64, error: &str) -> DeadLetter {
        DeadLetter {
            source: Source::Comment,
            sequence: Sequence(sequence),
            aggregate: Some(uuid::Uuid::from_u128(7)),
            event: vec![1, 2, 3].into(),
            error: error.into(),
            parked_at: Time::from_micros(4),
            program: "0.0.1".into(),
        }
    }

    async fn view(folder: &TempDir, name: &str) -> View {
        View::open(&folder.path().join(name)).await.unwrap()
    }

    /// A view that includes five events of comments, and knows of these letters.
    async fn complete(folder: &TempDir, letters: &[DeadLetter]) -> View {
        let mut view = view(folder, "view.db").await;
        let to = Checkpoint { sequence: Sequence(5), hash: Hash([5; 32]) };
        sqlx::query("BEGIN").execute(&mut view.connection).await.unwrap();
        let from = Checkpoint::ZERO;
        assert!(Sqlite::advance(&mut view.connection, Source::Comment, &from, &to).await.unwrap());
        Sqlite::commit(&mut view.connection).await.unwrap();
        Sqlite::park(&mut view.dead_letters, letters).await.unwrap();
        view.set_complete().await.unwrap();
        view
    }

    #[tokio::test]
    async fn a_copy_holds_what_is_parked_of_the_view() {
        let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let parked = [letter(3, "unknown"), letter(4, "")];
        let all = [parked.as_slice(), &[letter(6, "")]].concat();
        let view = complete(&folder, &all).await;
        let letters = folder.path().join("view.dead-letters.db");
        let path = other.path().join("copied");
        copy(view.path(), &letters, &path).await.unwrap();
        let position = check(&path).await.unwrap();
        assert_eq!(position, Position::ZERO.with(Source::Comment, Sequence(5)));

        // What was parked here, of a view that is gone, says nothing of this one.
        let mut old = self::view(&other, "old.db").await;
        Sqlite::park(&mut old.dead_letters, &[letter(1, "of old")]).await.unwrap();
        old.close().await.unwrap();
        let letters = other.path().join("old.dead-letters.db");
        unpack(&path, &letters).await.unwrap();
        let mut taken = View::open_beside(&path, &letters).await.unwrap();
        let found =
            Sqlite::letters(&mut taken.dead_letters, Source::Comment, Sequence::ZERO, 9).await;
        assert_eq!(found.unwrap(), parked);
        assert_eq!(taken.position().await.unwrap(), position);
        assert!(taken.is_complete().await.unwrap());
    }

    #[tokio::test]
    async fn a_copy_that_does_not_fit_is_not_gone_on_with() {
        let folder = TempDir::new().unwrap();
        let mut view = complete(&folder, &[]).await;
        let letters = folder.path().join("view.dead-letters.db");
        let path = |name: &str| folder.path().join(name);
        let change = async |path: &Path, sql: &'static str| {
            let mut connection = options(path).connect().await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        };

        copy(view.path(), &letters, &path("newer")).await.unwrap();
        change(&path("newer"), "UPDATE _sqlx_migrations SET version = 99 WHERE version = 1").await;
        assert!(matches!(check(&path("newer")).await, Err(CopyError::Schema(99))));

        view.take_indexes_away().await.unwrap();
        copy(view.path(), &letters, &path("unfinished")).await.unwrap();
        assert!(matches!(check(&path("unfinished")).await, Err(CopyError::Incomplete)));
        view.make_indexes().await.unwrap();
        let forget = sqlx::query("UPDATE beside SET complete = 0");
        forget.execute(&mut view.connection).await.unwrap();
        copy(view.path(), &letters, &path("incomplete")).await.unwrap();
        assert!(matches!(check(&path("incomplete")).await, Err(CopyError::Incomplete)));

        std::fs::write(path("other"), "no database").unwrap();
        assert!(matches!(check(&path("other")).await, Err(CopyError::Sql(_))));
    }
}
