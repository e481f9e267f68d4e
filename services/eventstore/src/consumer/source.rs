//! Reading a source, whatever is wrong with its stream.

use std::time::Duration;

use bus_schema::{Checkpoint, Source, Stream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use chassis::Bus;

use super::{
    Owners,
    owners::{AskError, Verdict},
    read::{ReadError, read},
};

use crate::delivery::Delivery;

/// How long the owner's journal is read before the stream is tried again.
const FROM_OWNER: Duration = Duration::from_secs(5);
/// How often the owner is asked for more.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The owner must say twice that it has not what was applied, so long after each other.
const SURE: Duration = Duration::from_secs(1);

/// Why the owner was of no help.
#[derive(Debug, thiserror::Error)]
enum Helpless {
    #[error("cannot read from the owner")]
    Ask(#[from] AskError),
    #[error("stopped")]
    Stopped,
}

/// Reads a source from a checkpoint on and sends its events on: from its stream or, where
/// that is not what was applied, from its owner's journal for a while. Ends with an error
/// only.
pub(super) async fn follow(
    bus: &Bus,
    owners: &Owners,
    source: Source,
    from: Checkpoint,
    events: &mpsc::Sender<Vec<Delivery>>,
) -> ReadError {
    let mut applied = from;
    let why = read(bus, source, &mut applied, events).await;
    if !why.is_of_stream() {
        return why;
    }
    let stream = Stream::of(source, 1, -1).name;
    let error = chassis::error::chain(&why);
    tracing::warn!(%source, applied = applied.sequence.0, error, "reading from the owner");
    owners.suspect(source);
    match read_owner(owners, source, &mut applied, events).await {
        Ok(Verdict::Same) => ReadError::Replaced { stream, why: Box::new(why) },
        Ok(Verdict::Another) => ReadError::Ahead { stream, applied: applied.sequence.0 },
        Err(Helpless::Stopped) => ReadError::Stopped,
        Err(Helpless::Ask(error)) => {
            let error = chassis::error::chain(&error);
            tracing::warn!(%source, error, "owner unavailable");
            why
        }
    }
}

/// Sends on what the owner's journal holds after what was applied, if it holds that.
async fn read_owner(
    owners: &Owners,
    source: Source,
    applied: &mut Checkpoint,
    events: &mpsc::Sender<Vec<Delivery>>,
) -> Result<Verdict, Helpless> {
    if owners.ask(source, *applied).await? == Verdict::Another {
        sleep(SURE).await;
        return Ok(owners.ask(source, *applied).await?);
    }
    let until = Instant::now() + FROM_OWNER;
    while Instant::now() < until {
        if owners.head(source).await?.sequence > applied.sequence {
            let mut rows = owners.read(source, applied.sequence.next()).await?;
            while let Some(rows) = rows.next().await? {
                let mut verified = Vec::with_capacity(rows.len());
                let mut last = *applied;
                for row in rows {
                    last = last.extend(&row.event);
                    if row.checkpoint() != last {
                        return Err(AskError::Broken(source, row.sequence).into());
                    }
                    verified.push(Delivery::of(row));
                }
                events.send(verified).await.map_err(|_| Helpless::Stopped)?;
                *applied = last;
            }
        }
        sleep(ASK_EVERY).await;
    }
    Ok(Verdict::Same)
}
