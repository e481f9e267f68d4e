//! The event store's SQL on PostgreSQL.

use std::time::Duration;

use bus_schema::{Checkpoint, Hash, Sequence, Source};
use sqlx::{PgConnection, Postgres, Row as _, migrate::Migrator, postgres::PgRow};
use uuid::Uuid;

use super::{RequestKey, RequestRow, Row, row::bytes32};
use crate::{
    database::{Backend, Database, OpenError, SqlResult, bulk::column},
    dead_letter::DeadLetter,
};
use chassis::config;

impl Backend for Postgres {
    // The server's own time-outs are shorter: this is for one that does not answer at all.
    const MAX_TRANSACTION: Duration = Duration::from_secs(10);
    const SYSTEM: &'static str = "postgresql";

    async fn open(
        settings: &config::Database,
        migrations: &Migrator,
    ) -> Result<Database<Self>, OpenError> {
        Database::open_server(settings, migrations).await
    }

    async fn identity(connection: &mut PgConnection) -> SqlResult<String> {
        sqlx::query_scalar(
            "SELECT system_identifier || ' ' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) \
             FROM pg_control_system()",
        )
        .fetch_one(connection)
        .await
    }

    async fn begin(connection: &mut PgConnection) -> SqlResult<Checkpoint> {
        // Both in one round trip.
        let row =
            sqlx::raw_sql("BEGIN; SELECT sequence, hash FROM journal_head WHERE id = 1 FOR UPDATE")
                .fetch_one(connection)
                .await?;
        checkpoint(&row)
    }

    async fn commit(connection: &mut PgConnection) -> SqlResult<()> {
        sqlx::raw_sql("COMMIT").execute(connection).await?;
        Ok(())
    }

    async fn rollback(connection: &mut PgConnection) -> SqlResult<()> {
        sqlx::raw_sql("ROLLBACK").execute(connection).await?;
        Ok(())
    }

    async fn be_patient(connection: &mut PgConnection) -> SqlResult<()> {
        sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(connection).await?;
        Ok(())
    }

    async fn head(connection: &mut PgConnection) -> SqlResult<Checkpoint> {
        let row = sqlx::query("SELECT sequence, hash FROM journal_head WHERE id = 1")
            .fetch_one(connection)
            .await?;
        checkpoint(&row)
    }

    async fn append(
        connection: &mut PgConnection,
        rows: &[Row],
        requests: &[RequestRow],
    ) -> SqlResult<()> {
        let Some(last) = rows.last() else { return Ok(()) };
        // Where one id came twice with events of the same kind, the first answers retries.
        sqlx::query(
            "WITH row AS (\
                 INSERT INTO journal (sequence, hash, event) \
                 SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::bytea[])\
             ), remembered AS (\
                 INSERT INTO request (key, sequence, hash) \
                 SELECT * FROM UNNEST($4::bytea[], $5::bigint[], $6::bytea[]) \
                 ON CONFLICT (key) DO NOTHING\
             ) UPDATE journal_head SET sequence = $7, hash = $8 WHERE id = 1",
        )
        .bind(column(rows, |row| row.sequence.as_i64()))
        .bind(column(rows, |row| row.hash.0.as_slice()))
        .bind(column(rows, |row| row.event.as_ref()))
        .bind(column(requests, |request| request.key.as_bytes()))
        .bind(column(requests, |request| request.sequence.as_i64()))
        .bind(column(requests, |request| request.hash.as_slice()))
        .bind(last.sequence.as_i64())
        .bind(last.hash.0.as_slice())
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn gather(connection: &mut PgConnection, source: Source, rows: &[Row]) -> SqlResult<()> {
        sqlx::query(
            "INSERT INTO rewound (source, sequence, hash, event) \
             SELECT $1, * FROM UNNEST($2::bigint[], $3::bytea[], $4::bytea[])",
        )
        .bind(source.as_str())
        .bind(column(rows, |row| row.sequence.as_i64()))
        .bind(column(rows, |row| row.hash.0.as_slice()))
        .bind(column(rows, |row| row.event.as_ref()))
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn rows(
        connection: &mut PgConnection,
        from: Sequence,
        limit: u32,
    ) -> SqlResult<Vec<Row>> {
        let query = "SELECT sequence, hash, event FROM journal WHERE sequence >= $1 \
                     ORDER BY sequence LIMIT $2";
        let rows = sqlx::query(query)
            .bind(from.as_i64())
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await?;
        rows.iter()
            .map(|row| {
                let Checkpoint { sequence, hash } = checkpoint(row)?;
                let event: Vec<u8> = row.try_get("event")?;
                Ok(Row { sequence, hash, event: event.into() })
            })
            .collect()
    }

    async fn requests(
        connection: &mut PgConnection,
        keys: &[RequestKey],
    ) -> SqlResult<Vec<RequestRow>> {
        let rows = sqlx::query("SELECT key, sequence, hash FROM request WHERE key = ANY($1)")
            .bind(column(keys, RequestKey::as_bytes))
            .fetch_all(connection)
            .await?;
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

    async fn checkpoint(connection: &mut PgConnection, source: Source) -> SqlResult<Checkpoint> {
        let row = sqlx::query("SELECT sequence, hash FROM checkpoint WHERE source = $1")
            .bind(source.as_str())
            .fetch_optional(connection)
            .await?;
        row.as_ref().map_or(Ok(Checkpoint::ZERO), checkpoint)
    }

    async fn advance(
        connection: &mut PgConnection,
        source: Source,
        from: &Checkpoint,
        to: &Checkpoint,
    ) -> SqlResult<bool> {
        if *from == Checkpoint::ZERO {
            sqlx::query(
                "INSERT INTO checkpoint (source, sequence, hash) VALUES ($1, $2, $3) \
                 ON CONFLICT (source) DO NOTHING",
            )
            .bind(source.as_str())
            .bind(from.sequence.as_i64())
            .bind(from.hash.0.as_slice())
            .execute(&mut *connection)
            .await?;
        }
        let moved = sqlx::query(
            "UPDATE checkpoint SET sequence = $1, hash = $2 \
             WHERE source = $3 AND sequence = $4 AND hash = $5",
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

    async fn park(connection: &mut PgConnection, letters: &[DeadLetter]) -> SqlResult<()> {
        if letters.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO dead_letter \
             (source, sequence, aggregate, event, error, parked_at, program) \
             SELECT * FROM UNNEST(\
                 $1::text[], $2::bigint[], $3::uuid[], $4::bytea[], $5::text[], $6::bigint[], \
                 $7::text[]\
             ) ON CONFLICT (source, sequence) DO NOTHING",
        )
        .bind(column(letters, |letter| letter.source.as_str()))
        .bind(column(letters, |letter| letter.sequence.as_i64()))
        .bind(column(letters, |letter| letter.aggregate))
        .bind(column(letters, |letter| letter.event.as_ref()))
        .bind(column(letters, |letter| letter.error.as_str()))
        .bind(column(letters, |letter| letter.parked_at.micros()))
        .bind(column(letters, |letter| letter.program.as_str()))
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn parked(connection: &mut PgConnection, source: Source) -> SqlResult<Vec<Option<Uuid>>> {
        sqlx::query_scalar("SELECT DISTINCT aggregate FROM dead_letter WHERE source = $1")
            .bind(source.as_str())
            .fetch_all(connection)
            .await
    }

    async fn restart_wal(_connection: &mut PgConnection) -> SqlResult<()> {
        // The server looks after its own.
        Ok(())
    }

    fn is_data_error(error: &sqlx::Error) -> bool {
        match error {
            // SQLSTATE: cardinality, data, integrity, and limits such as an index entry's size.
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class))
            }),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
            _ => false,
        }
    }
}

fn checkpoint(row: &PgRow) -> SqlResult<Checkpoint> {
    // Rows of an unprepared statement are text, from which bytes cannot be borrowed.
    let hash: Vec<u8> = row.try_get("hash")?;
    Ok(Checkpoint {
        sequence: Sequence::from_i64(row.try_get("sequence")?),
        hash: Hash(bytes32(&hash)?),
    })
}
