//! Multi-row statements.
//!
//! PostgreSQL takes rows as one array a [`column`]. For SQLite there is [`Statement`]: a round trip to SQLite's thread costs as much as
//! several rows, so rows go in by the hundred, in chunks of a few fixed sizes whose
//! statements stay prepared.
//!
//! Plain inserts say `INSERT OR FAIL`: SQLite then keeps no copy of the pages that a
//! statement touches, which it would need to undo half of one. Whoever gets an error
//! rolls the whole transaction back.

use std::{collections::HashSet, hash::Hash, sync::OnceLock};

use futures::future;
use sqlx::{
    Arguments as _, Sqlite, SqliteConnection, Type,
    encode::Encode,
    error::BoxDynError,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

/// How many rows one statement takes: the greatest first. Any number of rows is a sum of
/// few of them.
const CHUNKS: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// A statement for any number of rows: `head`, then one group of `row` for each row,
/// then `tail`.
///
/// ```
/// use eventstore::database::bulk::Statement;
/// static INSERT: Statement = Statement::new(
///     "INSERT INTO pet (name, age) VALUES ",
///     "(?, ?)",
///     " ON CONFLICT (name) DO UPDATE SET age = excluded.age",
/// );
/// ```
pub struct Statement {
    head: &'static str,
    row: &'static str,
    tail: &'static str,
    texts: [OnceLock<String>; CHUNKS.len()],
}

/// The parameters of a statement as they are bound: room is made for all of them at once.
pub struct Bind {
    arguments: SqliteArguments,
    /// Why one of them cannot be encoded.
    failed: Option<BoxDynError>,
}

impl Bind {
    fn with_capacity(parameters: usize) -> Self {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(parameters, 0);
        Self { arguments, failed: None }
    }

    /// Binds the next parameter.
    #[must_use]
    pub fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(mut self, value: T) -> Self {
        if let Err(error) = self.arguments.add(value) {
            self.failed.get_or_insert(error);
        }
        self
    }

    /// The statement with its parameters.
    fn query(
        self,
        text: &'static str,
    ) -> Result<Query<'static, Sqlite, SqliteArguments>, sqlx::Error> {
        match self.failed {
            Some(error) => Err(sqlx::Error::Encode(error)),
            None => Ok(sqlx::query_with(text, self.arguments)),
        }
    }
}

impl Statement {
    /// A statement with at most 127 parameters a row, of which SQLite takes 32,766.
    pub const fn new(head: &'static str, row: &'static str, tail: &'static str) -> Self {
        Self { head, row, tail, texts: [const { OnceLock::new() }; CHUNKS.len()] }
    }

    /// Executes it for all rows; `bind` binds the parameters of one row.
    ///
    /// # Errors
    /// What SQLite says of the first chunk that fails.
    pub async fn execute<R: Sync>(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &[R],
        bind: impl Fn(Bind, &R) -> Bind + Send,
    ) -> Result<(), sqlx::Error> {
        let mut queries = self.chunks(rows).map(move |(text, chunk)| {
            chunk.iter().fold(self.parameters(chunk.len()), &bind).query(text)
        });
        let mut next = queries.next();
        while let Some(query) = next {
            // SQLite has a thread of its own: while it is at one chunk, the next is bound.
            let (done, bound) =
                future::join(query?.execute(&mut *connection), async { queries.next() }).await;
            done?;
            next = bound;
        }
        Ok(())
    }

    /// Runs it as a query for all rows, such as `SELECT … WHERE id IN (…)` with `?` as
    /// its row, and returns what it finds. No row repeats another one. The last row is
    /// asked for several times, where that saves a statement: it must make no difference.
    ///
    /// # Errors
    /// What SQLite says of the first chunk that fails.
    pub async fn fetch<R: Sync>(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &[R],
        bind: impl Fn(Bind, &R) -> Bind + Send,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut found = Vec::new();
        for chunk in rows.chunks(CHUNKS[0]) {
            let size = CHUNKS.iter().rposition(|size| *size >= chunk.len()).unwrap_or_default();
            let padding = chunk.last().into_iter().cycle().take(CHUNKS[size] - chunk.len());
            let bound = chunk.iter().chain(padding).fold(self.parameters(CHUNKS[size]), &bind);
            found.extend(bound.query(self.text(size))?.fetch_all(&mut *connection).await?);
        }
        Ok(found)
    }

    /// The rows in chunks, each with the text of its statement.
    fn chunks<'r, R>(
        &'static self,
        mut rows: &'r [R],
    ) -> impl Iterator<Item = (&'static str, &'r [R])> {
        std::iter::from_fn(move || {
            let size = CHUNKS.iter().position(|size| *size <= rows.len())?;
            let (chunk, rest) = rows.split_at(CHUNKS[size]);
            rows = rest;
            Some((self.text(size), chunk))
        })
    }

    /// Room for the parameters of so many rows.
    fn parameters(&self, rows: usize) -> Bind {
        Bind::with_capacity(rows * self.row.matches('?').count())
    }

    fn text(&'static self, size: usize) -> &'static str {
        self.texts[size].get_or_init(|| {
            let rows = vec![self.row; CHUNKS[size]].join(", ");
            [self.head, &rows, self.tail].concat()
        })
    }
}

/// How many of so many rows to write now: all if they are few, else as many as two
/// statements a table take, which are at least three quarters.
pub(crate) const fn few_statements(rows: usize) -> usize {
    const FEW: usize = 8;
    if rows < FEW {
        return rows;
    }
    let first = 1 << rows.ilog2();
    let second = first / 2;
    if rows - first >= second { first + second } else { first }
}

/// One value of every row: what `UNNEST` makes a column of.
pub fn column<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// The values without repetitions, in the order in which they first come.
pub fn distinct<T: Clone + Eq + Hash>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    values.filter(|value| seen.insert(value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Row as _};

    use super::*;

    static INSERT: Statement = Statement::new("INSERT OR FAIL INTO n (n) VALUES ", "(?)", "");
    static FIND: Statement = Statement::new("SELECT n FROM n WHERE n IN (", "?", ")");

    #[test]
    fn two_statements_take_most_rows() {
        let cases = [(0, 0), (7, 7), (8, 8), (11, 8), (12, 12), (30, 24), (32, 32), (255, 192)];
        for (rows, now) in cases {
            assert_eq!(few_statements(rows), now);
        }
    }

    #[tokio::test]
    async fn any_number_of_rows_goes_in_and_comes_out() {
        let mut connection = SqliteConnection::connect(":memory:").await.unwrap();
        sqlx::query("CREATE TABLE n (n INTEGER PRIMARY KEY)")
            .execute(&mut connection)
            .await
            .unwrap();
        let mut next = 0;
        for count in [0, 1, 3, 63, 255, 256, 257, 700] {
            let rows: Vec<i64> = (next..next + count).collect();
            next += count;
            INSERT.execute(&mut connection, &rows, |query, n| query.bind(*n)).await.unwrap();
            let found =
                FIND.fetch(&mut connection, &rows, |query, n| query.bind(*n)).await.unwrap();
            let mut found: Vec<i64> = found.iter().map(|row| row.get("n")).collect();
            found.sort_unstable();
            assert_eq!(found, rows);
        }
    }
}
