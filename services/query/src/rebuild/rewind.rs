//! A view of what the owners hold now, where the served one holds what they do not.

use bus_schema::{Checkpoint, Source};
use chassis::failpoint;
use eventstore::{
    Position,
    consumer::{Owners, Sink},
    delivery::Batch,
};
use tokio::sync::mpsc;

use super::{Progress, RebuildError, Rebuilder, gauges::Gauges};
use crate::{consumer::Folder, origin::Origin};

impl Rebuilder {
    /// Makes that view, and switches to it.
    async fn rewind(&self, source: Source) -> Result<(), RebuildError> {
        let _running = self.running.try_lock().map_err(|_| RebuildError::Running)?;
        let _gauges = Gauges::start();
        tokio::select! {
            made = self.make_rewound(source) => made,
            () = self.shutdown.cancelled() => Err(chassis::Error::ShuttingDown.into()),
        }
    }

    async fn make_rewound(&self, source: Source) -> Result<(), RebuildError> {
        let _paused = self.folder.pause_repairs();
        drop(self.folder.freeze(Position::ZERO).await?);
        let mut wanted = self.folder.position();
        // Of the others, readers must not see less than before.
        let mut others = Vec::new();
        for owner in Source::ALL {
            match self.owners.head(owner).await {
                Ok(head) => {
                    if owner != source && head.sequence >= wanted.get(owner) {
                        others.push(owner);
                    }
                    wanted = wanted.with(owner, head.sequence);
                }
                Err(error) if owner == source => return Err(chassis::Error::internal(error).into()),
                // Then what was folded of it must do.
                Err(error) => {
                    let error = chassis::error::chain(&error);
                    tracing::warn!(source = %owner, error, "cannot read the owner's position");
                }
            }
        }
        let path = self.slots.other().map_err(RebuildError::File)?;
        let mut view = self.open_new(&path).await?;
        // What was parked of it, is of another history.
        view.forget_letters(source).await?;
        failpoint!(RewindInPlace => (wanted, others) = (Position::ZERO, Vec::new()));
        // Nobody listens: it is done by itself.
        let (listener, mut said) = mpsc::channel::<Progress>(1);
        let drain = tokio::spawn(async move {
            while let Some(Progress { done, total, .. }) = said.recv().await {
                tracing::info!(done, of = total, "rewinding the view");
            }
        });
        view = self.fold(view, &listener, 0, || wanted).await?;
        view.make_indexes().await?;
        let (view, frozen) = self.meet(view, &others, &listener).await?;
        drop((listener, drain));
        self.switch_over(view, frozen, Origin::Rewind).await?;
        tracing::warn!(%source, to = %wanted, "rewound");
        Ok(())
    }
}

/// The view that is served, as its consumers see it.
#[derive(Clone)]
pub(crate) struct Served {
    folder: Folder,
    rebuilder: Rebuilder,
}

impl Served {
    pub(crate) const fn new(folder: Folder, rebuilder: Rebuilder) -> Self {
        Self { folder, rebuilder }
    }
}

impl Sink for Served {
    const MAX_BATCH: usize = Folder::MAX_BATCH;

    async fn checkpoint(&self, source: Source) -> Result<Checkpoint, chassis::Error> {
        self.folder.checkpoint(source).await
    }

    async fn apply(&self, batch: Batch) -> Result<(), chassis::Error> {
        self.folder.apply(batch).await
    }

    async fn rewind(&self, source: Source, _owners: &Owners) -> Result<(), chassis::Error> {
        self.rebuilder.rewind(source).await.map_err(chassis::Error::internal)
    }
}
