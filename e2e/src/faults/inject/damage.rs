//! A stream that is damaged just where a journal that was put back ends.

use std::{fs, path::Path, time::Duration};

use bus_schema::Source;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{FILES, Injector, blocks, remove, with_suffix};
use crate::{
    Result, Service,
    faults::{load::Load, probe},
};

/// How long a service has to do something about it that it must not do.
const TEMPTATION: Duration = Duration::from_secs(3);

impl Injector<'_> {
    /// Puts a backup beside a stream that holds more, and whose message at the backup's end
    /// does not verify: nobody can prove that the rest belongs to it, and nobody else has it.
    /// Then the database is found again that was there before, and heals the stream.
    pub(super) async fn restore_beside_damage(&mut self, source: Source, load: &Load) -> Result {
        let service = Service::of(source);
        let Some(backup) = self.backups.get(&Some(service)).cloned() else { return Ok(()) };
        self.mend().await?;
        let _quiet = load.pause().await;
        self.published().await?;
        self.system.process(service).kill().await?;
        let database = self.system.database(service);
        let kept = self.system.folder().join("kept.db");
        move_files(&database, &kept)?;
        fs::copy(&backup, &database)?;
        let before = probe::last_sequence(&self.system.access, source).await?;
        self.system.nats.stop().await?;
        flip(self.system.nats.node(0).store(), source, &last_event(&backup).await?)?;
        self.system.nats.restart().await?;
        self.system.process(service).restart()?;
        self.rest(TEMPTATION).await?;

        let after = probe::last_sequence(&self.system.access, source).await?;
        if after < before {
            self.findings.push(format!(
                "I1: the stream of {source} held {before} events and holds {after}: it was made \
                 anew from a journal that had less"
            ));
        }
        self.system.process(service).kill().await?;
        remove(&database);
        move_files(&kept, &database)?;
        self.system.process(service).restart()?;
        self.flipped.insert(source);
        Ok(())
    }
}

/// Moves a SQLite database that nobody has open; to another file system, too.
fn move_files(from: &Path, to: &Path) -> Result {
    for suffix in FILES {
        let from = with_suffix(from, suffix);
        if from.exists() {
            fs::copy(&from, with_suffix(to, suffix))?;
            fs::remove_file(from)?;
        }
    }
    Ok(())
}

/// The last event of a journal in a file.
async fn last_event(database: &Path) -> Result<Vec<u8>> {
    let mut connection =
        SqliteConnectOptions::new().filename(database).read_only(true).connect().await?;
    let event = sqlx::query_scalar("SELECT event FROM journal ORDER BY sequence DESC LIMIT 1")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(event)
}

/// Flips a byte of an event where a stream's files hold it.
fn flip(store: &Path, source: Source, event: &[u8]) -> Result {
    for block in blocks(store, source)? {
        let mut bytes = fs::read(&block)?;
        if let Some(at) = bytes.windows(event.len()).position(|part| part == event) {
            bytes[at + event.len() / 2] ^= 0xff;
            return Ok(fs::write(block, bytes)?);
        }
    }
    Err(format!("the stream of {source} does not hold the backup's last event").into())
}
