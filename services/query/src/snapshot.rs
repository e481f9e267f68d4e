//! A new replica starts from a snapshot of a peer's view, and goes on from the checkpoints
//! inside: like every other view it must chain with the streams from there.
//!
//! [`give`] makes one and sends it, [`fetch`] takes one. Whatever goes wrong with it, the view
//! is made from the streams, as it can be at any time.

mod fetch;
mod give;

use std::{fs, io, net::SocketAddr, path::Path};

use chassis::{StartError, database};
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::{
    config,
    slots::{self, Slots},
};

pub(crate) use give::Giver;

/// How many bytes a message holds at most.
const CHUNK: usize = 256 * 1024;

/// Where the view comes from that a service starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Its own file.
    File,
    /// A peer.
    Snapshot,
    /// Nowhere: it is made from the streams.
    Streams,
}

impl Origin {
    const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Snapshot => "snapshot",
            Self::Streams => "streams",
        }
    }

    /// Says where the view came from.
    fn tell(self, view: &Path) {
        for origin in [Self::File, Self::Snapshot, Self::Streams] {
            let is_it = f64::from(u8::from(origin == self));
            metrics::gauge!("agora_view_origin", "origin" => origin.as_str()).set(is_it);
        }
        tracing::info!(view = %view.display(), origin = self.as_str(), "where the view comes from");
    }
}

/// Sees to it that there is a view to start with, if a peer has one: only where this replica
/// has none of its own. `listens` is where this process does.
pub(crate) async fn prepare(
    slots: &Slots,
    settings: &config::Snapshot,
    listens: SocketAddr,
) -> Result<(), StartError> {
    let peers = fetch::peers(settings)?;
    let view = slots.serving().map_err(other)?;
    // Nobody else has files of this folder open.
    let _lock = database::lock(&view)?;
    // What was left by a process that was killed while it copied.
    for left in [slots.copied(), slots.fetched()] {
        slots::remove(&left).map_err(other)?;
    }
    let token_file = settings.token_file.as_deref();
    let origin = if fs::metadata(&view).is_ok_and(|file| file.len() > 0) {
        Origin::File
    } else if let Some(peers) = peers
        && fetch::fetch(&peers, token_file, slots, &view, listens).await.map_err(other)?
    {
        Origin::Snapshot
    } else {
        Origin::Streams
    };
    origin.tell(&view);
    Ok(())
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
