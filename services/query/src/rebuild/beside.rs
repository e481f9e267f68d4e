//! A view that follows the streams beside the one that is served.

use std::{sync::Arc, time::Duration};

use bus_schema::Source;
use chassis::{Bus, error::chain};
use eventstore::{
    Position, Watermarks,
    consumer::{self, Ended, Owners, ReadError},
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::RebuildError;
use crate::{
    consumer::{Folder, Writer},
    pages::Pages,
    store::View,
};

/// How long it waits for a stream or for NATS, before it tries again.
const PAUSE: Duration = Duration::from_millis(500);

/// A view, its writer and its consumers.
pub(super) struct Beside {
    writer: JoinHandle<View>,
    consumers: JoinSet<Ended>,
    watermarks: Watermarks,
    folder: Folder,
}

impl Beside {
    /// Starts to follow.
    pub(super) async fn start(
        mut view: View,
        bus: &Bus,
        owners: &Owners,
    ) -> Result<Self, RebuildError> {
        let watermarks = Watermarks::new(&Source::ALL);
        watermarks.set_all(view.position().await?);
        let folded = view.newest_revision().await?;
        let pages = Arc::new(Pages::new());
        let (writer, folder) = Writer::new(view, folded, watermarks.clone(), pages);
        let folder = folder.without_repairs();
        let mut consumers = JoinSet::new();
        for source in Source::ALL {
            let (bus, owners) = (bus.clone(), owners.clone());
            let folder = folder.clone();
            consumers.spawn(async move {
                loop {
                    let Err(ended) = consumer::session(&bus, &owners, source, &folder, || {}).await;
                    match &ended {
                        Ended::Read(ReadError::Replaced { .. }) => continue,
                        Ended::Read(ReadError::Unavailable { .. }) => {}
                        Ended::Read(_) | Ended::Moved | Ended::Apply(_) => return ended,
                    }
                    tracing::info!(%source, error = %chain(&ended), "rebuild waiting");
                    sleep(PAUSE).await;
                }
            });
        }
        Ok(Self { writer: tokio::spawn(writer.run()), consumers, watermarks, folder })
    }

    /// What it has folded.
    pub(super) fn position(&self) -> Position {
        self.watermarks.reached()
    }

    /// Waits until it has folded more, or for this long.
    pub(super) async fn moved(&mut self, longest: Duration) -> Result<(), RebuildError> {
        let mut reached = self.watermarks.subscribe();
        tokio::select! {
            _ = timeout(longest, reached.changed()) => Ok(()),
            // A consumer ends with an error only.
            Some(ended) = self.consumers.join_next() => {
                Err(ended.map_err(chassis::Error::internal)?.into())
            }
        }
    }

    /// Stops to follow, and returns the view.
    pub(super) async fn stop(mut self) -> Result<View, RebuildError> {
        self.consumers.shutdown().await;
        drop(self.folder);
        Ok(self.writer.await.map_err(chassis::Error::internal)?)
    }
}
