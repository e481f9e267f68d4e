//! The SQL of what is gathered for one large transaction, the same on both kinds of
//! database: the events that a rewind folds, or that a database is made again from.

use bus_schema::{Checkpoint, Hash, Sequence, Source};
use sqlx::{FromRow, Postgres, Sqlite};

use super::{Row, row::bytes32};
use crate::database::SqlResult;

/// Gathered events, and what a transaction over all of them needs.
pub trait Gathered: sqlx::Database {
    /// Forgets what is gathered of a source.
    fn scatter(
        connection: &mut Self::Connection,
        source: Source,
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// The gathered rows of a source from `from` on, at most `limit`.
    fn gathered(
        connection: &mut Self::Connection,
        source: Source,
        from: Sequence,
        limit: u32,
    ) -> impl Future<Output = SqlResult<Vec<Row>>> + Send;

    /// Takes every dead letter of a source out.
    fn forget_letters(
        connection: &mut Self::Connection,
        source: Source,
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// Ends the journal with `head`: takes out what comes after it.
    fn cut(
        connection: &mut Self::Connection,
        head: &Checkpoint,
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// Runs statements without parameters.
    fn run(
        connection: &mut Self::Connection,
        statements: &'static [&'static str],
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// Marks a point of the transaction, to go back to.
    fn mark(connection: &mut Self::Connection) -> impl Future<Output = SqlResult<()>> + Send;

    /// Keeps what was done since [`Self::mark`].
    fn keep(connection: &mut Self::Connection) -> impl Future<Output = SqlResult<()>> + Send;

    /// Undoes what was done since [`Self::mark`].
    fn back(connection: &mut Self::Connection) -> impl Future<Output = SqlResult<()>> + Send;
}

#[derive(FromRow)]
struct GatheredRow {
    sequence: i64,
    hash: Vec<u8>,
    event: Vec<u8>,
}

impl GatheredRow {
    fn parse(self) -> SqlResult<Row> {
        Ok(Row {
            sequence: Sequence::from_i64(self.sequence),
            hash: Hash(bytes32(&self.hash)?),
            event: self.event.into(),
        })
    }
}

macro_rules! gathered {
    ($database:ty) => {
        impl Gathered for $database {
            async fn scatter(connection: &mut Self::Connection, source: Source) -> SqlResult<()> {
                sqlx::query("DELETE FROM rewound WHERE source = $1")
                    .bind(source.as_str())
                    .execute(connection)
                    .await?;
                Ok(())
            }

            async fn gathered(
                connection: &mut Self::Connection,
                source: Source,
                from: Sequence,
                limit: u32,
            ) -> SqlResult<Vec<Row>> {
                let rows: Vec<GatheredRow> = sqlx::query_as(
                    "SELECT sequence, hash, event FROM rewound \
                     WHERE source = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3",
                )
                .bind(source.as_str())
                .bind(from.as_i64())
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
                rows.into_iter().map(GatheredRow::parse).collect()
            }

            async fn forget_letters(
                connection: &mut Self::Connection,
                source: Source,
            ) -> SqlResult<()> {
                sqlx::query("DELETE FROM dead_letter WHERE source = $1")
                    .bind(source.as_str())
                    .execute(connection)
                    .await?;
                Ok(())
            }

            async fn cut(connection: &mut Self::Connection, head: &Checkpoint) -> SqlResult<()> {
                for delete in [
                    "DELETE FROM journal WHERE sequence > $1",
                    "DELETE FROM request WHERE sequence > $1",
                ] {
                    sqlx::query(delete)
                        .bind(head.sequence.as_i64())
                        .execute(&mut *connection)
                        .await?;
                }
                sqlx::query("UPDATE journal_head SET sequence = $1, hash = $2 WHERE id = 1")
                    .bind(head.sequence.as_i64())
                    .bind(head.hash.0.as_slice())
                    .execute(connection)
                    .await?;
                Ok(())
            }

            async fn run(
                connection: &mut Self::Connection,
                statements: &'static [&'static str],
            ) -> SqlResult<()> {
                for statement in statements {
                    sqlx::query(*statement).execute(&mut *connection).await?;
                }
                Ok(())
            }

            async fn mark(connection: &mut Self::Connection) -> SqlResult<()> {
                sqlx::query("SAVEPOINT batch").execute(connection).await?;
                Ok(())
            }

            async fn keep(connection: &mut Self::Connection) -> SqlResult<()> {
                sqlx::query("RELEASE SAVEPOINT batch").execute(connection).await?;
                Ok(())
            }

            async fn back(connection: &mut Self::Connection) -> SqlResult<()> {
                sqlx::query("ROLLBACK TO SAVEPOINT batch").execute(&mut *connection).await?;
                Self::keep(connection).await
            }
        }
    };
}

gathered!(Sqlite);
gathered!(Postgres);
