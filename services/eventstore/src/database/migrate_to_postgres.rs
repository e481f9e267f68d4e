//! What a service owns, moved from a SQLite file to a PostgreSQL database.
//!
//! The tables are copied one for one, as both kinds of database have the same: so dead
//! letters, requests, checkpoints, and whatever a later migration adds, go with the journal,
//! and nothing is folded again that only other sources' streams could tell.
//!
//! All of it is one transaction that holds every table, and that is committed only after what
//! it wrote was read again and found equal. Nobody ever sees half of a move, and one that was
//! interrupted has never been.

mod rows;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bus_schema::{Checkpoint, Sequence};
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, Postgres, SqliteConnection,
    migrate::Migrator,
};

use super::{
    OpenError, lock, migrate_owner, options,
    postgres::{self, Address},
};
use crate::{database::Backend as _, leader};
use chassis::config;
use rows::{Chunk, Content, MAX_ROWS};
use table::{JOURNAL, Table, tables};

/// A transaction over everything takes its time; only for locks it does not wait.
const SESSION: [(&str, &str); 3] = [
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("lock_timeout", "5s"),
];

/// What was moved.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Where the journal ends.
    pub head: Checkpoint,
    /// How many rows each table has.
    pub tables: BTreeMap<String, u64>,
    /// Whether an earlier move had done it already.
    pub was_done: bool,
}

/// What a move does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rows are written.
    Copying,
    /// They are read again.
    Comparing,
}

/// Who wants to know how many rows are done, and of how many.
pub type Progress<'a> = &'a mut (dyn FnMut(Step, u64, u64) + Send);

/// Why nothing is moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no file.
    #[error("there is no database file {0}")]
    NoFile(PathBuf),
    /// The file is in use, or the database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file holds something else.
    #[error(
        "{file} does not hold what this version of the service keeps ({what}): name the file of \
         this service, and start and stop this version on it once before"
    )]
    OtherTables {
        /// The file.
        file: PathBuf,
        /// What differs.
        what: String,
    },
    /// A journal does not verify.
    #[error("the journal of {of} does not verify at {at}")]
    Broken {
        /// The database.
        of: String,
        /// Where.
        at: Sequence,
    },
    /// The database belongs to a service that runs.
    #[error("the database {0} is in use: stop the service that runs on it")]
    InUse(String, #[source] sqlx::Error),
    /// The database holds something already.
    #[error("the database {database} is not empty ({what}): make an empty one")]
    NotEmpty {
        /// The database.
        database: String,
        /// What it holds.
        what: String,
    },
    /// What was written is not what was read.
    #[error("the table {table} of {database} holds other rows than the file")]
    Differs {
        /// The table.
        table: String,
        /// The database.
        database: String,
    },
    /// The file cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] sqlx::Error),
    /// The database cannot be written.
    #[error("cannot write {0}")]
    Write(String, #[source] sqlx::Error),
}

/// Moves what a service owns into an empty database, with these migrations of the service's
/// own tables there.
///
/// # Errors
/// [`MoveError`]. Nothing is moved then, and the file is as it was in any case.
pub async fn to_server(
    from: &Path,
    to: &config::Secret,
    migrations: &Migrator,
    progress: Progress<'_>,
) -> Result<Moved, MoveError> {
    if !from.is_file() {
        return Err(MoveError::NoFile(from.into()));
    }
    let _lock = lock(from)?;
    let address = Address::parse(to.expose())?;
    let file = options(from).create_if_missing(false).read_only(true).connect().await;
    let file = file.map_err(|error| MoveError::Read(from.into(), error))?;
    let database = address.session("move", &SESSION).connect().await;
    let database = database.map_err(|source| OpenError::sql(&address.name, source))?;
    let mut the_move =
        Move { file, database, from, to: address.name, tables: Vec::new(), progress };
    the_move.prepare(migrations).await?;
    the_move.run().await
}

struct Move<'a> {
    file: SqliteConnection,
    database: PgConnection,
    from: &'a Path,
    /// The database's name.
    to: String,
    tables: Vec<Table>,
    progress: Progress<'a>,
}

impl Move<'_> {
    /// Makes the tables, and keeps services away from them.
    async fn prepare(&mut self, migrations: &Migrator) -> Result<(), MoveError> {
        let (name, database) = (self.to.clone(), &mut self.database);
        let checked = postgres::check(database).await;
        checked
            .map_err(|source| OpenError::sql(&name, source))?
            .map_err(|why| OpenError::Unfit { database: name.clone(), why })?;
        migrate_owner(database, &name, &postgres::MIGRATIONS, migrations).await?;
        self.tables = tables(database).await.map_err(|error| self.write(error))?;
        self.compare_schemas().await?;
        let locked = leader::lock(&mut self.database).await;
        locked.map_err(|error| MoveError::InUse(name, error))
    }

    /// Whether both databases have the same tables.
    async fn compare_schemas(&mut self) -> Result<(), MoveError> {
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND substr(t.name, 1, 1) <> '_' AND t.name NOT LIKE 'sqlite%'",
        )
        .fetch_all(&mut self.file)
        .await
        .map_err(|error| self.read(error))?;
        let found: BTreeSet<_> = found.into_iter().collect();
        let wanted = self.tables.iter().flat_map(|table| {
            table.columns.iter().map(|column| (table.name.clone(), column.name.clone()))
        });
        let wanted: BTreeSet<_> = wanted.collect();
        let what = if let Some((table, column)) = wanted.difference(&found).next() {
            format!("{table}.{column} is missing")
        } else if let Some((table, column)) = found.difference(&wanted).next() {
            format!("{table}.{column} is unknown")
        } else {
            return Ok(());
        };
        Err(MoveError::OtherTables { file: self.from.into(), what })
    }

    async fn run(&mut self) -> Result<Moved, MoveError> {
        let total = self.count_rows().await.map_err(|error| self.read(error))?;
        let head = sqlx::Sqlite::head(&mut self.file).await.map_err(|error| self.read(error))?;
        self.begin().await?;
        let held = Postgres::head(&mut self.database).await.map_err(|error| self.write(error))?;
        let was_done = held != Checkpoint::ZERO;
        if was_done && held != head {
            return Err(self.not_empty(format!("its journal ends with {}", held.sequence)));
        }
        if !was_done {
            self.clear().await?;
        }
        let mut done = 0;
        let mut contents = Vec::new();
        for index in 0..self.tables.len() {
            contents.push(self.copy(index, !was_done, &mut done, total).await?);
        }
        let mut done = 0;
        for (index, content) in contents.iter().enumerate() {
            if self.read_again(index, &mut done, total).await? != *content {
                let table = self.tables[index].name.clone();
                return Err(MoveError::Differs { table, database: self.to.clone() });
            }
        }
        self.execute("COMMIT").await?;
        self.execute("ANALYZE").await?;
        let names = self.tables.iter().map(|table| table.name.clone());
        let tables = names.zip(contents.iter().map(|content| content.rows)).collect();
        Ok(Moved { head, tables, was_done })
    }

    async fn count_rows(&mut self) -> Result<u64, sqlx::Error> {
        let mut total = 0;
        for table in &self.tables {
            let count = format!("SELECT count(*) FROM \"{}\"", table.name);
            let rows: i64 =
                sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut self.file).await?;
            total += rows.unsigned_abs();
        }
        Ok(total)
    }

    /// Begins the transaction, and locks every table.
    async fn begin(&mut self) -> Result<(), MoveError> {
        self.execute("BEGIN").await?;
        let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", self.all_tables());
        let locked = self.database.execute(AssertSqlSafe(lock)).await;
        locked.map_err(|error| MoveError::InUse(self.to.clone(), error))?;
        Ok(())
    }

    /// Makes sure that there is nothing, and takes out the head of the empty journal.
    async fn clear(&mut self) -> Result<(), MoveError> {
        for index in 0..self.tables.len() {
            let name = self.tables[index].name.clone();
            let any = format!("SELECT EXISTS (SELECT FROM \"{name}\")");
            let any = sqlx::query_scalar(AssertSqlSafe(any)).fetch_one(&mut self.database).await;
            if name != "journal_head" && any.map_err(|error| self.write(error))? {
                return Err(self.not_empty(format!("there are rows in {name}")));
            }
        }
        let truncate = format!("TRUNCATE {}", self.all_tables());
        let truncated = self.database.execute(AssertSqlSafe(truncate)).await;
        truncated.map(drop).map_err(|error| self.write(error))
    }

    /// Copies a table, or only reads it; says what it holds.
    async fn copy(
        &mut self,
        index: usize,
        writes: bool,
        done: &mut u64,
        total: u64,
    ) -> Result<Content, MoveError> {
        let Self { file, database, from, to, tables, progress } = self;
        let failed = |error| MoveError::Read(from.to_path_buf(), error);
        let written = |error| MoveError::Write(to.clone(), error);
        let table = &tables[index];
        let mut content = Content::default();
        let mut chunk = Chunk::default();
        let select = table.select_from_file();
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut *file);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let cells = table.cells(&row).map_err(failed)?;
            content
                .add(table, &cells)
                .map_err(|at| MoveError::Broken { of: from.display().to_string(), at })?;
            chunk.push(cells);
            if chunk.is_full() {
                *done += chunk.rows.len() as u64;
                if writes {
                    table.insert(database, &chunk).await.map_err(written)?;
                }
                chunk = Chunk::default();
                progress(Step::Copying, *done, total);
            }
        }
        *done += chunk.rows.len() as u64;
        if writes {
            table.insert(database, &chunk).await.map_err(written)?;
            table.number_on(database).await.map_err(written)?;
        }
        progress(Step::Copying, *done, total);
        drop(rows);
        if table.name == JOURNAL
            && content.head != sqlx::Sqlite::head(file).await.map_err(failed)?
        {
            let (of, at) = (from.display().to_string(), content.head.sequence.next());
            return Err(MoveError::Broken { of, at });
        }
        Ok(content)
    }

    /// What a table of the database holds.
    async fn read_again(
        &mut self,
        index: usize,
        done: &mut u64,
        total: u64,
    ) -> Result<Content, MoveError> {
        let Self { database, to, tables, progress, .. } = self;
        let failed = |error| MoveError::Write(to.clone(), error);
        let table = &tables[index];
        let mut content = Content::default();
        let select = table.select_from_database();
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(database);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let cells = table.cells(&row).map_err(failed)?;
            content.add(table, &cells).map_err(|at| MoveError::Broken { of: to.clone(), at })?;
            *done += 1;
            if content.rows % MAX_ROWS as u64 == 0 {
                progress(Step::Comparing, *done, total);
            }
        }
        progress(Step::Comparing, *done, total);
        Ok(content)
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), MoveError> {
        let executed = self.database.execute(statement).await;
        executed.map(drop).map_err(|error| self.write(error))
    }

    fn all_tables(&self) -> String {
        let names = self.tables.iter().map(|table| format!("\"{}\"", table.name));
        names.collect::<Vec<_>>().join(", ")
    }

    fn not_empty(&self, what: String) -> MoveError {
        MoveError::NotEmpty { database: self.to.clone(), what }
    }

    fn read(&self, error: sqlx::Error) -> MoveError {
        MoveError::Read(self.from.into(), error)
    }

    fn write(&self, error: sqlx::Error) -> MoveError {
        MoveError::Write(self.to.clone(), error)
    }
}
