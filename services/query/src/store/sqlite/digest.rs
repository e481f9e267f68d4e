use bus_schema::Source;
use eventstore::{Position, database::Backend as _};
use futures::TryStreamExt as _;
use sqlx::{Sqlite, SqliteConnection};

/// What a view holds, as counts and hashes at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The checkpoints of the view.
    pub position: Position,
    /// Every table.
    pub tables: Vec<TableDigest>,
}

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDigest {
    /// Its name.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// BLAKE3 over the rows in the order of their key.
    pub hash: [u8; 32],
}

/// Each table, with its rows as texts in the order of the key.
const TABLES: [(&str, &str); 4] = [
    (
        "post",
        "SELECT json_array(hex(post_id), known, site, external_key, title, body, author_id, \
         author_name, revision, state, create_time, update_time, approve_time, comments) \
         FROM post ORDER BY post_id",
    ),
    (
        "comment",
        "SELECT json_array(hex(comment_id), known, hex(post_id), hex(parent_key), depth, \
         author_id, author_name, create_time, deleted, newest, shown, open, replies) \
         FROM comment ORDER BY comment_id",
    ),
    (
        "revision",
        "SELECT json_array(hex(comment_id), revision, hex(revision_id), body, time, decision, \
         decided_by) FROM revision ORDER BY comment_id, revision",
    ),
    (
        "early_decision",
        "SELECT json_array(hex(revision_id), decision, decided_by) FROM early_decision \
         ORDER BY revision_id",
    ),
];

/// The digest of a view, in the connection's transaction.
pub(super) async fn digest(connection: &mut SqliteConnection) -> Result<Digest, sqlx::Error> {
    let mut position = Position::ZERO;
    for source in Source::ALL {
        let checkpoint = Sqlite::checkpoint(connection, source).await?;
        position = position.with(source, checkpoint.sequence);
    }
    let mut tables = Vec::new();
    for (table, query) in TABLES {
        let mut hasher = blake3::Hasher::new();
        let mut count = 0;
        let mut rows = sqlx::query_scalar::<_, String>(query).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            hasher.update(&(row.len() as u64).to_le_bytes());
            hasher.update(row.as_bytes());
            count += 1;
        }
        drop(rows);
        tables.push(TableDigest { table, rows: count, hash: *hasher.finalize().as_bytes() });
    }
    Ok(Digest { position, tables })
}
