use std::path::Path;

use eventstore::database::{self, OpenError};
use sqlx::{ConnectOptions as _, SqliteConnection};

use super::digest::{self, Digest};

/// A view as it was at one moment, on a connection of its own.
pub(crate) struct Snapshot(SqliteConnection);

impl Snapshot {
    /// What a view holds now; what is written later is not seen.
    pub(crate) async fn take(path: &Path) -> Result<Self, OpenError> {
        let sql = |error| OpenError::file(path, error);
        let options = database::options(path).create_if_missing(false).read_only(true);
        let mut connection = options.connect().await.map_err(sql)?;
        // The first read makes the snapshot.
        sqlx::query("BEGIN; SELECT source FROM checkpoint")
            .fetch_all(&mut connection)
            .await
            .map_err(sql)?;
        Ok(Self(connection))
    }

    /// What it holds, as counts and hashes.
    pub(crate) async fn digest(mut self) -> Result<Digest, sqlx::Error> {
        digest::digest(&mut self.0).await
    }
}
