//! The event store's SQL on SQLite.

use std::time::Duration;

use bus_schema::{Checkpoint, Hash, Sequence, Source};
use sqlx::{Row as _, Sqlite, SqliteConnection, migrate::Migrator, sqlite::SqliteRow};
use uuid::Uuid;

use super::{RequestKey, RequestRow, Row, row::bytes32};
use crate::{
    database::{Backend, Database, OpenError, SqlResult, bulk::Statement},
    dead_letter::DeadLetter,
};
use chassis::config;

static APPEND: Statement =
    Statement::new("INSERT OR FAIL INTO journal (sequence, hash, event) VALUES ", "(?, ?, ?)", "");
/// Where one id came twice with events of the same kind, the first answers retries.
static REMEMBER: Statement = Statement::new(
    "INSERT INTO request (key, sequence, hash) VALUES ",
    "(?, ?, ?)",
    " ON CONFLICT (key) DO NOTHING",
);
static FIND_REQUESTS: Statement =
    Statement::new("SELECT key, sequence, hash FROM request WHERE key IN (", "?", ")");
static GATHER: Statement = Statement::new(
    "INSERT INTO rewound (source, sequence, hash, event) VALUES ",
    "(?, ?, ?, ?)",
    "",
);
static PARK: Statement = Statement::new(
    "INSERT INTO dead_letter (source, sequence, aggregate, event, error, parked_at, program) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (source, sequence) DO NOTHING",
);

impl Backend for Sqlite {
    // A slow disk only takes its time: there is nobody else to turn to.
    const MAX_TRANSACTION: Duration = Duration::MAX;
    const SYSTEM: &'static str = "sqlite";

    async fn open(
        settings: &config::Database,
        migrations: &Migrator,
    ) -> Result<Database<Self>, OpenError> {
        Database::open_file(settings, migrations).await
    }

    async fn identity(_connection: &mut SqliteConnection) -> SqlResult<String> {
        Ok(String::new())
    }

    async fn begin(connection: &mut SqliteConnection) -> SqlResult<Checkpoint> {
        // Both in one round trip to SQLite's thread.
        let row =
            sqlx::query("BEGIN IMMEDIATE; SELECT sequence, hash FROM journal_head WHERE id = 1")
                .fetch_one(connection)
                .await?;
        checkpoint(&row)
    }

    async fn commit(connection: &mut SqliteConnection) -> SqlResult<()> {
        sqlx::query("COMMIT").execute(connection).await?;
        Ok(())
    }

    async fn rollback(connection: &mut SqliteConnection) -> SqlResult<()> {
        sqlx::query("ROLLBACK").execute(connection).await?;
        Ok(())
    }

    async fn be_patient(_connection: &mut SqliteConnection) -> SqlResult<()> {
        Ok(())
    }

    async fn head(connection: &mut SqliteConnection) -> SqlResult<Checkpoint> {
        let row = sqlx::query("SELECT sequence, hash FROM journal_head WHERE id = 1")
            .fetch_one(connection)
            .await?;
        checkpoint(&row)
    }

    async fn append(
        connection: &mut SqliteConnection,
        rows: &[Row],
        requests: &[RequestRow],
    ) -> SqlResult<()> {
        let Some(last) = rows.last() else { return Ok(()) };
        APPEND
            .execute(connection, rows, |query, row| {
                query
                    .bind(row.sequence.as_i64())
                    .bind(row.hash.0.as_slice())
                    .bind(row.event.as_ref())
            })
            .await?;
        REMEMBER
            .execute(connection, requests, |query, request| {
                query
                    .bind(request.key.as_bytes())
                    .bind(request.sequence.as_i64())
                    .bind(request.hash.as_slice())
            })
            .await?;
        sqlx::query("UPDATE journal_head SET sequence = ?, hash = ? WHERE id = 1")
            .bind(last.sequence.as_i64())
            .bind(last.hash.0.as_slice())
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn gather(
        connection: &mut SqliteConnection,
        source: Source,
        rows: &[Row],
    ) -> SqlResult<()> {
        GATHER
            .execute(connection, rows, |query, row| {
                query
                    .bind(source.as_str())
                    .bind(row.sequence.as_i64())
                    .bind(row.hash.0.as_slice())
                    .bind(row.event.as_ref())
            })
            .await
    }

    async fn rows(
        connection: &mut SqliteConnection,
        from: Sequence,
        limit: u32,
    ) -> SqlResult<Vec<Row>> {
        let query = "SELECT sequence, hash, event FROM journal WHERE sequence >= ? \
                     ORDER BY sequence LIMIT ?";
        let rows = sqlx::query(query).bind(from.as_i64()).bind(limit).fetch_all(connection).await?;
        rows.iter()
            .map(|row| {
                let Checkpoint { sequence, hash } = checkpoint(row)?;
                let event: Vec<u8> = row.try_get("event")?;
                Ok(Row { sequence, hash, event: event.into() })
            })
            .collect()
    }

    async fn requests(
        connection: &mut SqliteConnection,
        keys: &[RequestKey],
    ) -> SqlResult<Vec<RequestRow>> {
        let rows =
            FIND_REQUESTS.fetch(connection, keys, |query, key| query.bind(key.as_bytes())).await?;
        rows.iter()
            .map(|row| {
                Ok(RequestRow {
                    key: RequestKey(bytes32(row.try_get("key")?)?),
                    sequence: Sequence::from_i64(row.try_get("sequence")?),
                    hash: bytes32(row.try_get("hash")?)?,
                })
            })
            .collect()
    }

    async fn checkpoint(
        connection: &mut SqliteConnection,
        source: Source,
    ) -> SqlResult<Checkpoint> {
        let row = sqlx::query("SELECT sequence, hash FROM checkpoint WHERE source = ?")
            .bind(source.as_str())
            .fetch_optional(connection)
            .await?;
        row.as_ref().map_or(Ok(Checkpoint::ZERO), checkpoint)
    }

    async fn advance(
        connection: &mut SqliteConnection,
        source: Source,
        from: &Checkpoint,
        to: &Checkpoint,
    ) -> SqlResult<bool> {
        if *from == Checkpoint::ZERO {
            sqlx::query(
                "INSERT INTO checkpoint (source, sequence, hash) VALUES (?, 0, zeroblob(32)) \
                 ON CONFLICT (source) DO NOTHING",
            )
            .bind(source.as_str())
            .execute(&mut *connection)
            .await?;
        }
        let moved = sqlx::query(
            "UPDATE checkpoint SET sequence = ?, hash = ? \
             WHERE source = ? AND sequence = ? AND hash = ?",
        )
        .bind(to.sequence.as_i64())
        .bind(to.hash.0.as_slice())
        .bind(source.as_str())
        .bind(from.sequence.as_i64())
        .bind(from.hash.0.as_slice())
        .execute(connection)
        .await?;
        Ok(moved.rows_affected() == 1)
    }

    async fn park(connection: &mut SqliteConnection, letters: &[DeadLetter]) -> SqlResult<()> {
        PARK.execute(connection, letters, |query, letter| {
            query
                .bind(letter.source.as_str())
                .bind(letter.sequence.as_i64())
                .bind(letter.aggregate.map(|id| id.as_bytes().to_vec()))
                .bind(letter.event.as_ref())
                .bind(letter.error.as_str())
                .bind(letter.parked_at.micros())
                .bind(letter.program.as_str())
        })
        .await
    }

    async fn parked(
        connection: &mut SqliteConnection,
        source: Source,
    ) -> SqlResult<Vec<Option<Uuid>>> {
        let rows = sqlx::query("SELECT DISTINCT aggregate FROM dead_letter WHERE source = ?")
            .bind(source.as_str())
            .fetch_all(connection)
            .await?;
        rows.iter().map(|row| row.try_get("aggregate")).collect()
    }

    async fn restart_wal(connection: &mut SqliteConnection) -> SqlResult<()> {
        sqlx::query("PRAGMA wal_checkpoint(RESTART)").execute(connection).await?;
        Ok(())
    }

    fn is_data_error(error: &sqlx::Error) -> bool {
        match error {
            sqlx::Error::Database(error) => {
                error.is_unique_violation()
                    || error.is_check_violation()
                    || error.is_foreign_key_violation()
                    // Not null, type mismatch of a strict table, too big.
                    || matches!(error.code().as_deref(), Some("1299" | "3091" | "18" | "20"))
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
            _ => false,
        }
    }
}

fn checkpoint(row: &SqliteRow) -> SqlResult<Checkpoint> {
    Ok(Checkpoint {
        sequence: Sequence::from_i64(row.try_get("sequence")?),
        hash: Hash(bytes32(row.try_get("hash")?)?),
    })
}
