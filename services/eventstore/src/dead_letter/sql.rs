//! The SQL of dead letters, the same on both kinds of database.

use bus_schema::{Sequence, Source, Time};
use sqlx::{FromRow, Postgres, Sqlite};
use uuid::Uuid;

use super::{Action, DeadLetter, Done, PROGRAM};
use crate::database::{SqlResult, rows};

/// Dead letters in a database, whatever kind it is.
pub trait Letters: sqlx::Database {
    /// The letters of a source after `after`, at most `limit`.
    fn letters(
        connection: &mut Self::Connection,
        source: Source,
        after: Sequence,
        limit: u32,
    ) -> impl Future<Output = SqlResult<Vec<DeadLetter>>> + Send;

    /// One letter.
    fn letter(
        connection: &mut Self::Connection,
        source: Source,
        sequence: Sequence,
    ) -> impl Future<Output = SqlResult<Option<DeadLetter>>> + Send;

    /// The first letter of an aggregate.
    fn first_letter(
        connection: &mut Self::Connection,
        source: Source,
        aggregate: Option<Uuid>,
    ) -> impl Future<Output = SqlResult<Option<DeadLetter>>> + Send;

    /// The aggregates of a source whose first letter another program has parked.
    fn outdated(
        connection: &mut Self::Connection,
        source: Source,
    ) -> impl Future<Output = SqlResult<Vec<Option<Uuid>>>> + Send;

    /// How many letters there are of a source.
    fn count_letters(
        connection: &mut Self::Connection,
        source: Source,
    ) -> impl Future<Output = SqlResult<u64>> + Send;

    /// Takes a letter out: says whether it was there.
    fn unpark(
        connection: &mut Self::Connection,
        source: Source,
        sequence: Sequence,
    ) -> impl Future<Output = SqlResult<bool>> + Send;

    /// Says why this program cannot apply it either.
    fn blame(
        connection: &mut Self::Connection,
        source: Source,
        sequence: Sequence,
        error: &str,
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// Keeps what was done.
    fn record(
        connection: &mut Self::Connection,
        action: &Action,
    ) -> impl Future<Output = SqlResult<()>> + Send;

    /// What was done, the newest first, at most `limit`.
    fn actions(
        connection: &mut Self::Connection,
        limit: u32,
    ) -> impl Future<Output = SqlResult<Vec<Action>>> + Send;
}

#[derive(FromRow)]
struct LetterRow {
    source: String,
    sequence: i64,
    aggregate: Option<Uuid>,
    event: Vec<u8>,
    error: String,
    parked_at: i64,
    program: String,
}

impl LetterRow {
    fn parse(self) -> SqlResult<DeadLetter> {
        Ok(DeadLetter {
            source: rows::parse("source", &self.source)?,
            sequence: Sequence::from_i64(self.sequence),
            aggregate: self.aggregate,
            event: self.event.into(),
            error: self.error,
            parked_at: Time::from_micros(self.parked_at),
            program: self.program,
        })
    }
}

#[derive(FromRow)]
struct ActionRow {
    time: i64,
    actor: String,
    action: String,
    source: String,
    sequence: i64,
    reason: String,
    error: String,
    event: Vec<u8>,
}

impl ActionRow {
    fn parse(self) -> SqlResult<Action> {
        let done = [Done::Retried, Done::Dropped];
        let done = done.into_iter().find(|done| done.as_str() == self.action);
        Ok(Action {
            time: Time::from_micros(self.time),
            actor: self.actor,
            done: done.ok_or_else(|| rows::invalid("action", "unknown"))?,
            source: rows::parse("source", &self.source)?,
            sequence: Sequence::from_i64(self.sequence),
            reason: self.reason,
            error: self.error,
            event: self.event.into(),
        })
    }
}

macro_rules! select_letters {
    ($where:literal) => {
        concat!(
            "SELECT source, sequence, aggregate, event, error, parked_at, program \
             FROM dead_letter WHERE ",
            $where
        )
    };
}

macro_rules! letters {
    ($database:ty) => {
        impl Letters for $database {
            async fn letters(
                connection: &mut Self::Connection,
                source: Source,
                after: Sequence,
                limit: u32,
            ) -> SqlResult<Vec<DeadLetter>> {
                let rows: Vec<LetterRow> = sqlx::query_as(select_letters!(
                    "source = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"
                ))
                .bind(source.as_str())
                .bind(after.as_i64())
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
                rows.into_iter().map(LetterRow::parse).collect()
            }

            async fn letter(
                connection: &mut Self::Connection,
                source: Source,
                sequence: Sequence,
            ) -> SqlResult<Option<DeadLetter>> {
                let row: Option<LetterRow> =
                    sqlx::query_as(select_letters!("source = $1 AND sequence = $2"))
                        .bind(source.as_str())
                        .bind(sequence.as_i64())
                        .fetch_optional(connection)
                        .await?;
                row.map(LetterRow::parse).transpose()
            }

            async fn first_letter(
                connection: &mut Self::Connection,
                source: Source,
                aggregate: Option<Uuid>,
            ) -> SqlResult<Option<DeadLetter>> {
                let row: Option<LetterRow> = sqlx::query_as(select_letters!(
                    "source = $1 AND aggregate IS NOT DISTINCT FROM $2 ORDER BY sequence LIMIT 1"
                ))
                .bind(source.as_str())
                .bind(aggregate)
                .fetch_optional(connection)
                .await?;
                row.map(LetterRow::parse).transpose()
            }

            async fn outdated(
                connection: &mut Self::Connection,
                source: Source,
            ) -> SqlResult<Vec<Option<Uuid>>> {
                sqlx::query_scalar(
                    "SELECT DISTINCT aggregate FROM dead_letter \
                     WHERE source = $1 AND program <> $2 AND error <> ''",
                )
                .bind(source.as_str())
                .bind(PROGRAM)
                .fetch_all(connection)
                .await
            }

            async fn count_letters(
                connection: &mut Self::Connection,
                source: Source,
            ) -> SqlResult<u64> {
                let count: i64 =
                    sqlx::query_scalar("SELECT count(*) FROM dead_letter WHERE source = $1")
                        .bind(source.as_str())
                        .fetch_one(connection)
                        .await?;
                Ok(count.unsigned_abs())
            }

            async fn unpark(
                connection: &mut Self::Connection,
                source: Source,
                sequence: Sequence,
            ) -> SqlResult<bool> {
                let taken =
                    sqlx::query("DELETE FROM dead_letter WHERE source = $1 AND sequence = $2")
                        .bind(source.as_str())
                        .bind(sequence.as_i64())
                        .execute(connection)
                        .await?;
                Ok(taken.rows_affected() == 1)
            }

            async fn blame(
                connection: &mut Self::Connection,
                source: Source,
                sequence: Sequence,
                error: &str,
            ) -> SqlResult<()> {
                sqlx::query(
                    "UPDATE dead_letter SET error = $3, program = $4 \
                     WHERE source = $1 AND sequence = $2",
                )
                .bind(source.as_str())
                .bind(sequence.as_i64())
                .bind(error)
                .bind(PROGRAM)
                .execute(connection)
                .await?;
                Ok(())
            }

            async fn record(connection: &mut Self::Connection, action: &Action) -> SqlResult<()> {
                sqlx::query(
                    "INSERT INTO dead_letter_log \
                     (time, actor, action, source, sequence, reason, error, event) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(action.time.micros())
                .bind(action.actor.as_str())
                .bind(action.done.as_str())
                .bind(action.source.as_str())
                .bind(action.sequence.as_i64())
                .bind(action.reason.as_str())
                .bind(action.error.as_str())
                .bind(action.event.as_ref())
                .execute(connection)
                .await?;
                Ok(())
            }

            async fn actions(
                connection: &mut Self::Connection,
                limit: u32,
            ) -> SqlResult<Vec<Action>> {
                let rows: Vec<ActionRow> = sqlx::query_as(
                    "SELECT time, actor, action, source, sequence, reason, error, event \
                     FROM dead_letter_log ORDER BY id DESC LIMIT $1",
                )
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
                rows.into_iter().map(ActionRow::parse).collect()
            }
        }
    };
}

letters!(Sqlite);
letters!(Postgres);
