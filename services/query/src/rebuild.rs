//! Making the view anew beside the one that is served, and switching over: readers notice
//! nothing. The old one stays for one step back.
//!
//! The new view folds the streams from the beginning, without indexes; they are made when
//! it is near the end. Then the served view holds still for a moment, twice: to compare
//! both at one position, and to switch.

mod beside;
mod error;
mod gauges;
mod rewind;

use std::{path::Path, sync::Arc, time::Duration};

use bus_schema::Source;
use chassis::{Bus, Host};
use eventstore::{
    Position,
    consumer::{Owners, read_to},
    delivery::Batch,
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, mpsc},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    consumer::{Folder, Frozen},
    origin::Origin,
    slots::{self, Slots},
    store::{Digest, Reader, Snapshot, View},
};

use beside::Beside;
use gauges::Gauges;

pub(crate) use error::RebuildError;
pub(crate) use rewind::Served;

/// The new view is near when it lacks no more events than this.
const NEAR: u64 = 2_000;
/// The served view holds still no longer than this.
const MAX_FREEZE: Duration = Duration::from_secs(1);
/// How long it may take until it does.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried to hold it still.
const MAX_TRIES: u32 = 20;
/// How often it is said how far the new view is.
const SAY_EVERY: Duration = Duration::from_millis(500);

/// Makes views anew; cheap to clone.
#[derive(Clone)]
pub(crate) struct Rebuilder {
    slots: Slots,
    folder: Folder,
    reader: Reader,
    readers: u32,
    bus: Bus,
    owners: Owners,
    shutdown: CancellationToken,
    /// One rebuild at a time, and none while the view is copied.
    running: Arc<Mutex<()>>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Go back to the old view instead of making a new one.
    pub(crate) undo: bool,
    /// Switch even if the new view holds something else than the old one.
    pub(crate) accept_differences: bool,
}

/// How far a rebuild is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// How many events the new view has folded.
    pub(crate) done: u64,
    /// How many the served one has.
    pub(crate) total: u64,
}

/// What a rebuild does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Events are folded.
    Folding,
    /// Indexes are made.
    Indexing,
    /// Both views are read and compared.
    Comparing,
    /// The new view is served.
    Switched,
}

/// Who is told.
type Listener = mpsc::Sender<Progress>;

impl Rebuilder {
    pub(crate) fn new(
        host: &Host,
        owners: Owners,
        slots: Slots,
        folder: Folder,
        reader: Reader,
        readers: u32,
    ) -> Self {
        Gauges::describe();
        Self {
            slots,
            folder,
            reader,
            readers,
            bus: host.bus(),
            owners,
            shutdown: host.shutdown(),
            running: Arc::default(),
        }
    }

    /// No view is made anew as long as what is returned is held.
    pub(crate) fn keep_away(&self) -> Result<OwnedMutexGuard<()>, RebuildError> {
        self.running.clone().try_lock_owned().map_err(|_| RebuildError::Running)
    }

    /// Makes a view and switches to it; says how far it is to `listener`, and gives up when
    /// that is gone: what is done by then is gone on with the next time.
    pub(crate) async fn run(
        &self,
        wanted: Wanted,
        listener: &Listener,
    ) -> Result<(), RebuildError> {
        let _running = self.running.try_lock().map_err(|_| RebuildError::Running)?;
        let _gauges = Gauges::start();
        tokio::select! {
            made = self.make(wanted, listener) => made,
            () = listener.closed() => Err(RebuildError::Abandoned),
            () = self.shutdown.cancelled() => Err(chassis::Error::ShuttingDown.into()),
        }
    }

    async fn make(&self, wanted: Wanted, listener: &Listener) -> Result<(), RebuildError> {
        // A dead letter that is applied to the served view only, the new one would lack.
        let _paused = self.folder.pause_repairs();
        // What was asked for before is done when this is answered.
        drop(self.folder.freeze(Position::ZERO).await?);
        let path = self.slots.other().map_err(RebuildError::File)?;
        let mut view = match self.open_kept(&path, wanted).await? {
            Some(view) => view,
            None if wanted.undo => return Err(RebuildError::NoOldView),
            None => self.open_new(&path).await?,
        };
        view = self.catch_up(view, listener).await?;
        if view.is_unfinished().await? {
            say(listener, Phase::Indexing, &mut view).await?;
            view.make_indexes().await?;
            view = self.catch_up(view, listener).await?;
        }
        if !wanted.undo {
            view = self.compare(view, wanted.accept_differences, listener).await?;
        }
        let origin = if wanted.undo { Origin::Undo } else { Origin::Rebuild };
        self.switch(view, origin, listener).await
    }

    /// The view that is there, if it is of use: the old one to go back to; one that was begun
    /// before; or one that differs, if that is accepted.
    async fn open_kept(&self, path: &Path, wanted: Wanted) -> Result<Option<View>, RebuildError> {
        if !path.exists() {
            return Ok(None);
        }
        let mut view = View::open_beside(path, &self.slots.letters()).await?;
        let (unfinished, differs) = (view.is_unfinished().await?, view.differs().await?);
        let is_wanted = if wanted.undo {
            !unfinished && !differs
        } else {
            unfinished || (differs && wanted.accept_differences)
        };
        if is_wanted && !view.missed_repairs().await? {
            tracing::info!(view = %path.display(), "resuming rebuild");
            return Ok(Some(view));
        }
        view.close().await?;
        Ok(None)
    }

    /// An empty view.
    async fn open_new(&self, path: &Path) -> Result<View, RebuildError> {
        slots::remove(path).map_err(RebuildError::File)?;
        let mut view = View::open_beside(path, &self.slots.letters()).await?;
        view.note_repairs().await?;
        view.take_indexes_away().await?;
        Ok(view)
    }

    /// Folds until the view is near the served one.
    async fn catch_up(&self, view: View, listener: &Listener) -> Result<View, RebuildError> {
        self.fold(view, listener, NEAR, || self.folder.position()).await
    }

    /// Folds until the view lacks no more than `near` of what `wanted` says.
    async fn fold(
        &self,
        mut view: View,
        listener: &Listener,
        near: u64,
        wanted: impl Fn() -> Position,
    ) -> Result<View, RebuildError> {
        let began = view.position().await?;
        let mut beside = Beside::start(view, &self.bus, &self.owners).await?;
        let mut said = Instant::now();
        let mut wanted_now;
        loop {
            let now = beside.position();
            wanted_now = wanted();
            if lag(now, wanted_now) <= near {
                break;
            }
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                let (done, total) = (events(now), events(wanted_now));
                tell(listener, Progress { phase: Phase::Folding, done, total }).await?;
            }
            beside.moved(SAY_EVERY).await?;
        }
        let view = beside.stop().await?;
        tracing::info!(from = %began, to = %wanted_now, "the new view has caught up");
        Ok(view)
    }

    /// Holds the served view still and folds what the new one lacks of these sources.
    async fn meet(
        &self,
        mut view: View,
        sources: &[Source],
        listener: &Listener,
    ) -> Result<(View, Frozen), RebuildError> {
        for _ in 0..MAX_TRIES {
            let at_least = of(sources, view.position().await?);
            let freeze = timeout(PATIENCE, self.folder.freeze(at_least)).await;
            let frozen = freeze.map_err(|_| RebuildError::TooBusy)??;
            let missing = self.missing(&mut view, sources, &frozen);
            if let Ok(missing) = timeout(MAX_FREEZE, missing).await {
                let missing = missing?;
                view.apply(&missing).await?;
                return Ok((view, frozen));
            }
            drop(frozen);
            let served = || of(sources, self.folder.position());
            view = self.fold(view, listener, NEAR, served).await?;
        }
        Err(RebuildError::TooBusy)
    }

    /// What a view lacks of what one that holds still has.
    async fn missing(
        &self,
        view: &mut View,
        sources: &[Source],
        frozen: &Frozen,
    ) -> Result<Vec<Batch>, RebuildError> {
        let mut missing = Vec::new();
        let wanted = frozen.checkpoints.iter().filter(|(source, _)| sources.contains(source));
        for (source, to) in wanted.copied() {
            let from = view.checkpoint(source).await?;
            let deliveries = read_to(&self.bus, source, from, to).await?;
            if !deliveries.is_empty() {
                missing.push(Batch { source, from, to, deliveries });
            }
        }
        Ok(missing)
    }

    /// Compares both views at one position, while both go on.
    async fn compare(
        &self,
        view: View,
        accept_differences: bool,
        listener: &Listener,
    ) -> Result<View, RebuildError> {
        let (mut view, frozen) = self.meet(view, &Source::ALL, listener).await?;
        let serving = self.slots.serving().map_err(RebuildError::File)?;
        let (old, new) = (Snapshot::take(&serving).await?, Snapshot::take(view.path()).await?);
        drop(frozen);
        say(listener, Phase::Comparing, &mut view).await?;
        let differences = differences(&old.digest().await?, &new.digest().await?);
        let accepted = differences.is_empty() || accept_differences;
        tracing::info!(?differences, accepted, "the views are compared");
        view.set_differs(!accepted).await?;
        if accepted {
            return self.catch_up(view, listener).await;
        }
        view.close().await?;
        Err(RebuildError::Differs(differences))
    }

    async fn switch(
        &self,
        view: View,
        origin: Origin,
        listener: &Listener,
    ) -> Result<(), RebuildError> {
        let (mut view, frozen) = self.meet(view, &Source::ALL, listener).await?;
        say(listener, Phase::Switched, &mut view).await?;
        self.switch_over(view, frozen, origin).await
    }

    async fn switch_over(
        &self,
        view: View,
        frozen: Frozen,
        origin: Origin,
    ) -> Result<(), RebuildError> {
        let (slots, reader) = (self.slots.clone(), self.reader.clone());
        let pool = view.readers(self.readers).await?;
        // A task of its own: whoever asked may leave now, and it must not be done by halves.
        let switch = tokio::spawn(async move {
            slots.switch().map_err(RebuildError::File)?;
            let before = reader.replace(pool);
            let mut old = frozen.switch(view).await?;
            old.note_repairs().await?;
            tracing::info!(old = %old.path().display(), ?origin, "switched to the new view");
            origin.tell();
            before.close().await;
            let path = old.path().to_owned();
            old.close().await?;
            // After a rewind it is of no use: it holds what its sources do not.
            if origin == Origin::Rewind {
                slots::remove(&path).map_err(RebuildError::File)?;
            }
            Ok(())
        });
        switch.await.map_err(chassis::Error::internal)?
    }
}

async fn say(listener: &Listener, phase: Phase, view: &mut View) -> Result<(), RebuildError> {
    let done = events(view.position().await?);
    tell(listener, Progress { phase, done, total: done }).await
}

/// Tells the listener and the metrics.
async fn tell(listener: &Listener, progress: Progress) -> Result<(), RebuildError> {
    Gauges::tell(progress);
    listener.send(progress).await.map_err(|_| RebuildError::Abandoned)
}

/// What a position says of these sources alone.
fn of(sources: &[Source], position: Position) -> Position {
    let parts = sources.iter().map(|source| (*source, position.get(*source)));
    parts.fold(Position::ZERO, |all, (source, sequence)| all.with(source, sequence))
}

fn events(position: Position) -> u64 {
    Source::ALL.iter().map(|source| position.get(*source).0).sum()
}

fn lag(now: Position, served: Position) -> u64 {
    let each =
        Source::ALL.iter().map(|source| served.get(*source).0.saturating_sub(now.get(*source).0));
    each.sum()
}

/// The tables that differ, in words.
fn differences(old: &Digest, new: &Digest) -> Vec<String> {
    let pairs = old.tables.iter().zip(&new.tables).filter(|(old, new)| old != new);
    pairs
        .map(|(old, new)| {
            format!("{} ({} rows, {} in the new view)", old.table, old.rows, new.rows)
        })
        .collect()
}
