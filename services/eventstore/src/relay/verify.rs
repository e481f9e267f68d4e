//! Reading a whole stream against its journal: what proves that a damaged stream may be
//! made anew.

use bus_schema::{Checkpoint, Sequence};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::Pool;

use super::{
    compare::CompareError,
    stream::{Extent, Remote},
};
use crate::{database::Backend, journal::Row};

/// How many rows are read at once.
const CHUNK: u32 = 1_000;
/// How many messages are asked for at the same time.
const IN_FLIGHT: usize = 64;
/// How often it is said how far it is, in messages.
const SAY_EVERY: u64 = 100_000;

/// What reading a whole stream against its journal has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// The journal verifies and holds all that the stream can still show: so many of its
    /// messages are missing or damaged.
    Held { damaged: u64 },
    /// Both hold an event here, and not the same one.
    Differs(Sequence),
    /// The journal does not chain here.
    Broken(Sequence),
    /// The journal ends here, before the stream does.
    TooShort(Sequence),
}

/// How one message stands to its row.
enum Message {
    Equal,
    Damaged,
    Other,
}

/// Verifies the journal from 1 on, and compares every message that the stream still shows.
/// Says how many were compared, of how many, and how many of them are damaged.
pub(super) async fn verify<B: Backend>(
    remote: &Remote,
    readers: &Pool<B>,
    extent: Extent,
    progress: &(dyn Fn(u64, u64, u64) + Send + Sync),
) -> Result<Verified, CompareError> {
    let mut chain = Checkpoint::ZERO;
    let mut damaged = 0;
    while chain.sequence < extent.last {
        let from = chain.sequence.next();
        let rows = B::rows(&mut *readers.acquire().await?, from, CHUNK).await?;
        if rows.is_empty() {
            return Ok(Verified::TooShort(chain.sequence));
        }
        for row in &rows {
            chain = chain.extend(&row.event);
            if row.checkpoint() != chain {
                return Ok(Verified::Broken(row.sequence));
            }
        }
        let found: Vec<(Sequence, Message)> = stream::iter(rows)
            .filter(|row| std::future::ready(row.sequence <= extent.last))
            .map(|row| message(remote, row))
            .buffered(IN_FLIGHT)
            .try_collect()
            .await?;
        for (sequence, message) in found {
            match message {
                Message::Equal => {}
                Message::Damaged => damaged += 1,
                Message::Other => return Ok(Verified::Differs(sequence)),
            }
            if sequence.0.is_multiple_of(SAY_EVERY) {
                tracing::info!(stream = remote.name(), verified = sequence.0, of = extent.last.0);
            }
        }
        progress(chain.sequence.min(extent.last).0, extent.last.0, damaged);
    }
    Ok(Verified::Held { damaged })
}

async fn message(remote: &Remote, row: Row) -> Result<(Sequence, Message), CompareError> {
    let stored = remote.find(row.sequence).await.map_err(CompareError::Stream)?;
    let message = match stored {
        None => Message::Damaged,
        Some(stored) if stored.hash != Some(row.hash) => Message::Other,
        Some(stored) if stored.row.event == row.event => Message::Equal,
        // It says that it is this event, and is not.
        Some(_) => Message::Damaged,
    };
    Ok((row.sequence, message))
}
