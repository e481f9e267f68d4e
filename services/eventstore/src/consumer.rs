//! The consumer: reads another source's stream in order, verifies its chain, and
//! hands the events in batches to what applies them.
//!
//! It starts *at* its checkpoint: the message there must have the checkpoint's hash,
//! and every further one must chain. A stream that was cut off, recreated or replaced
//! is known by that, whatever its sequences say.

mod lag;
mod owners;
pub(crate) mod read;
mod run;
mod source;
mod trace;

use std::future::Future;

use bus_schema::{Checkpoint, Source};

use crate::delivery::Batch;
use chassis::Error;

pub use owners::{AskError, Owners};
pub use read::{ReadError, ends, read_to};
pub use run::{Consumer, Ended, session, spawn};

/// How many events a batch has at most: a power of two, as batches under load are.
pub const MAX_BATCH: usize = 1_024;
/// How many events are handed over together by whoever reads a source, at most.
const MAX_CHUNK: usize = 128;
/// How many chunks of verified events wait for the batches that will take them.
pub(crate) const MAX_READ_AHEAD: usize = 128;

/// What applies a consumer's events.
pub trait Sink: Clone + Send + Sync + 'static {
    /// How many events it takes at once at most.
    const MAX_BATCH: usize = MAX_BATCH;

    /// Whether it applies what another one of its kind has applied before, as a view that is
    /// made anew: that is no part of the traces of old.
    fn replays(&self) -> bool {
        false
    }

    /// What it has applied of a source.
    fn checkpoint(&self, source: Source) -> impl Future<Output = Result<Checkpoint, Error>> + Send;

    /// Applies a batch and moves the checkpoint from [`Batch::from`] to [`Batch::to`],
    /// in one transaction and only if it still is there. What it cannot apply, it
    /// parks; an error means that nothing was done and that the same may succeed later.
    fn apply(&self, batch: Batch) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets what it has applied of a source, and applies what the source's owner has,
    /// from its first event on. Nobody sees what is half done.
    fn rewind(
        &self,
        source: Source,
        owners: &Owners,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
