use bus_schema::{Checkpoint, Hash, Sequence};
use sqlx::Pool;

use super::stream::{Extent, Remote};
use crate::{database::Backend, journal::Row};
use chassis::bus::{Foreign, StreamError};

/// What comparing a journal with its stream has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// There is no stream.
    Absent,
    /// The stream equals the journal up to here, its end; the rest is to be published.
    Shorter(Checkpoint),
    /// The stream equals the journal up to the journal's end, and goes on to here.
    Longer { journal: Checkpoint, stream: Sequence },
    /// The stream begins with another event: what was found, in words.
    Foreign(String),
    /// Messages are missing or do not verify: what was found, in words.
    Damaged { what: String, journal: Sequence, stream: Extent },
    /// Both hold verified events that differ: what was found, in words.
    Differs(String),
}

/// Why the comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompareError {
    #[error("cannot read the stream")]
    Stream(#[source] async_nats::Error),
    #[error(transparent)]
    Foreign(#[from] Foreign),
    #[error("cannot read the journal")]
    Journal(#[from] sqlx::Error),
}

impl From<StreamError> for CompareError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Foreign(foreign) => Self::Foreign(foreign),
            StreamError::Unavailable(error) => Self::Stream(error),
        }
    }
}

/// Compares a journal with its stream at the ends that tell: message 1 and the last
/// one that both have.
pub(super) async fn compare<B: Backend>(
    remote: &Remote,
    readers: &Pool<B>,
) -> Result<Finding, CompareError> {
    match remote.extent().await? {
        Some(extent) => compare_with(remote, readers, extent).await,
        None => Ok(Finding::Absent),
    }
}

/// Compares a journal with the stream that has this extent, whoever it belongs to.
pub(super) async fn compare_with<B: Backend>(
    remote: &Remote,
    readers: &Pool<B>,
    extent: Extent,
) -> Result<Finding, CompareError> {
    let head = B::head(&mut *readers.acquire().await?).await?;
    if extent.messages == 0 && extent.last == Sequence::ZERO {
        return Ok(Finding::Shorter(Checkpoint::ZERO));
    }
    let damaged = |what: String| Finding::Damaged {
        what: format!("stream {} is damaged: {what}", remote.name()),
        journal: head.sequence,
        stream: extent,
    };
    if let Some(what) = hole(extent) {
        return Ok(damaged(what));
    }
    if head.sequence == Sequence::ZERO {
        return Ok(Finding::Longer { journal: head, stream: extent.last });
    }

    if let Some(found) = compare_at::<B>(remote, readers, Sequence(1)).await? {
        return Ok(match found {
            Difference::Other => Finding::Foreign(format!(
                "stream {} belongs to another installation: its first event is not this \
                 journal's; point this service at its own NATS, or at its own database",
                remote.name()
            )),
            Difference::Damaged => damaged("message 1 does not verify".into()),
        });
    }
    let both = head.sequence.min(extent.last);
    if let Some(found) = compare_at::<B>(remote, readers, both).await? {
        return Ok(match found {
            Difference::Other => Finding::Differs(format!(
                "stream {} and journal differ at {both}: both hold an event there, and not the \
                 same one",
                remote.name()
            )),
            Difference::Damaged => damaged(format!("message {both} does not verify")),
        });
    }
    if extent.last > head.sequence {
        return Ok(Finding::Longer { journal: head, stream: extent.last });
    }
    let end = row::<B>(readers, extent.last).await?;
    Ok(Finding::Shorter(end.checkpoint()))
}

/// What is wrong with the numbers of a stream, if something is.
fn hole(extent: Extent) -> Option<String> {
    let Extent { messages, first, last, .. } = extent;
    if messages == 0 {
        return Some(format!("it is empty, and its last message was {last}"));
    }
    if first != 1 {
        return Some(format!("it begins with message {first}"));
    }
    (messages != last.0).then(|| format!("{} of {last} messages are missing", last.0 - messages))
}

/// How a message differs from the journal's row.
enum Difference {
    /// It verifies, and is another event.
    Other,
    /// It does not verify.
    Damaged,
}

/// Compares one message with the journal's row.
async fn compare_at<B: Backend>(
    remote: &Remote,
    readers: &Pool<B>,
    sequence: Sequence,
) -> Result<Option<Difference>, CompareError> {
    let Some(stored) = remote.find(sequence).await.map_err(CompareError::Stream)? else {
        return Ok(Some(Difference::Damaged));
    };
    let ours = row::<B>(readers, sequence).await?;
    if stored.row == ours {
        return Ok(None);
    }
    let previous = match sequence {
        Sequence(1) => Hash::ZERO,
        Sequence(n) => row::<B>(readers, Sequence(n - 1)).await?.hash,
    };
    // A message of another chain cannot be verified by itself unless it is the first;
    // one that claims our hash and has other bytes is damaged for certain.
    let claims_ours = stored.hash == Some(ours.hash);
    let verifies = stored.hash == Some(previous.chain(&stored.row.event));
    let damaged = stored.hash.is_none() || claims_ours || (sequence.0 == 1 && !verifies);
    Ok(Some(if damaged { Difference::Damaged } else { Difference::Other }))
}

async fn row<B: Backend>(readers: &Pool<B>, sequence: Sequence) -> Result<Row, CompareError> {
    let rows = B::rows(&mut *readers.acquire().await?, sequence, 1).await?;
    let row = rows.into_iter().find(|row| row.sequence == sequence);
    Ok(row.ok_or(sqlx::Error::RowNotFound)?)
}
