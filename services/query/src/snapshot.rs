//! A new replica starts from a snapshot of a peer's view, and goes on from the checkpoints
//! inside: like every other view it must chain with the streams from there.
//!
//! [`give`] makes one and sends it, [`fetch`] takes one. Whatever goes wrong with it, the view
//! is made from the streams, as it can be at any time.

mod fetch;
mod give;

use std::{fs, io, net::SocketAddr, path::Path};

use bus_schema::Installation;
use chassis::StartError;
use eventstore::database;
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::{
    config,
    origin::Origin,
    slots::{self, Slots},
};

pub(crate) use give::Giver;

/// How many bytes a message holds at most.
const CHUNK: usize = 256 * 1024;

/// Sees to it that there is a view to start with, if a peer has one: only where this replica
/// has none of its own. `listens` is where this process does. Returns where the view comes from.
pub(crate) async fn prepare(
    slots: &Slots,
    settings: &config::Snapshot,
    installation: &Installation,
    listens: SocketAddr,
) -> Result<Origin, StartError> {
    let peers = fetch::peers(settings, installation)?;
    let view = slots.serving().map_err(other)?;
    // Nobody else has files of this folder open.
    let _lock = database::lock(&view)?;
    // What was left by a process that was killed while it copied.
    for left in [slots.copied(), slots.fetched()] {
        slots::remove(&left).map_err(other)?;
    }
    let origin = if fs::metadata(&view).is_ok_and(|file| file.len() > 0) {
        Origin::File
    } else if let Some(peers) = peers
        && fetch::fetch(&peers, slots, &view, listens).await.map_err(other)?
    {
        Origin::Snapshot
    } else {
        Origin::Streams
    };
    Ok(origin)
}

fn other(error: io::Error) -> StartError {
    StartError::Other(error.into())
}

/// The size of a file and its hash.
async fn hash(path: &Path) -> io::Result<(u64, blake3::Hash)> {
    let mut file = File::open(path).await?;
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; CHUNK]);
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Ok((hasher.count(), hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}
