//! Consumers that meet a missing message, or one with another hash, tell the relay of its
//! source, if that runs in the same process: it then reads its whole stream.

use std::sync::Arc;

use bus_schema::Source;
use tokio::sync::Notify;

/// The suspicions of one process; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Suspicions(Arc<[Notify; Source::ALL.len()]>);

impl Suspicions {
    /// Says that something is wrong with a source's stream.
    pub(crate) fn raise(&self, source: Source) {
        self.of(source).notify_one();
    }

    /// Waits until somebody says so.
    pub(crate) async fn raised(&self, source: Source) {
        self.of(source).notified().await;
    }

    fn of(&self, source: Source) -> &Notify {
        let index = Source::ALL.iter().position(|known| *known == source);
        &self.0[index.unwrap_or_default()]
    }
}
