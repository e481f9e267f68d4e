//! What the query service does with events: one task folds what the three consumers
//! hand over, all that waits at the same time in one transaction.

mod pair;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bus_schema::{Checkpoint, RevisionId, Source};
use chassis::Error;
use eventstore::{
    Position, Watermarks,
    consumer::{Owners, Sink},
    dead_letter::{Refused, Repair, Repaired, Repairs},
    delivery::{Batch, Delivery},
};
use futures::future::BoxFuture;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{pages::Pages, store::View, visible::Visible};

/// How many events of a source one transaction takes at most: a view that is far behind
/// has nobody waiting for its disk. Of more, the processor's caches hold too little.
const MAX_BATCH: usize = 4_096;
/// How long a comment waits for the decision on it, or a decision for its comment.
const MAX_HELD: Duration = Duration::from_millis(100);
/// Requests that wait; their senders wait for them anyway.
const MAX_WAITING: usize = 8;

/// The way to the task that writes the view.
#[derive(Clone)]
pub(crate) struct Folder {
    requests: mpsc::Sender<Request>,
    watermarks: Watermarks,
    /// Whether it sees to dead letters: one of two views does that share them.
    repairs: bool,
    /// How many want dead letters to be left alone for now.
    pauses: Arc<AtomicU32>,
}

/// Dead letters are left alone until this is dropped.
pub(crate) struct Paused(Arc<AtomicU32>);

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

enum Request {
    Checkpoint(Source, oneshot::Sender<Result<Checkpoint, Error>>),
    Apply(Batch, oneshot::Sender<Result<(), Error>>),
    Repair(Repair, oneshot::Sender<Result<Repaired, Refused>>),
    Complete(oneshot::Sender<Result<(), Error>>),
    Freeze(Freeze),
}

/// A wish that the view holds still.
struct Freeze {
    /// It has folded at least this by then.
    at_least: Position,
    frozen: oneshot::Sender<Frozen>,
}

/// A view that holds still until this is dropped.
pub(crate) struct Frozen {
    /// What it has folded of each source.
    pub(crate) checkpoints: Vec<(Source, Checkpoint)>,
    switch: oneshot::Sender<(View, oneshot::Sender<Result<View, Error>>)>,
}

impl Frozen {
    /// Has another view take its place, and returns it. Where that has folded something else,
    /// the consumers begin anew at its checkpoints.
    pub(crate) async fn switch(self, view: View) -> Result<View, Error> {
        let (done, old) = oneshot::channel();
        self.switch.send((view, done)).map_err(|_| Error::ShuttingDown)?;
        old.await.map_err(|_| Error::ShuttingDown)?
    }
}

/// A batch that waits to be folded, or what is left of it.
struct Held {
    batch: Batch,
    answer: oneshot::Sender<Result<(), Error>>,
    /// It is folded then, whatever else has come.
    until: Instant,
}

/// The task that writes the view.
pub(crate) struct Writer {
    view: View,
    requests: mpsc::Receiver<Request>,
    watermarks: Watermarks,
    pages: Arc<Pages>,
    /// At most one batch of each source, as its consumer waits for the answer. Ordered:
    /// comments come before the decisions on them.
    held: BTreeMap<Source, Held>,
    /// The newest revision that was folded.
    folded: Option<RevisionId>,
    freeze: Option<Freeze>,
    /// What measures it, if readers see it.
    visible: Option<Visible>,
}

impl Writer {
    /// The task that writes a view, of which `folded` is the newest revision.
    pub(crate) fn new(
        view: View,
        folded: Option<RevisionId>,
        watermarks: Watermarks,
        pages: Arc<Pages>,
    ) -> (Self, Folder) {
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        let watched = watermarks.clone();
        let pauses = Arc::default();
        let folder = Folder { requests: sender, watermarks: watched, repairs: true, pauses };
        let (held, freeze) = (BTreeMap::new(), None);
        let visible = None;
        (Self { view, requests, watermarks, pages, held, folded, freeze, visible }, folder)
    }

    /// The same, of a view that readers see.
    pub(crate) fn measured(self, visible: Visible) -> Self {
        Self { visible: Some(visible), ..self }
    }

    /// Writes until every [`Folder`] is dropped, and returns the view.
    pub(crate) async fn run(mut self) -> View {
        let mut requests = Vec::new();
        while self.receive(&mut requests).await {
            for request in requests.drain(..) {
                match request {
                    Request::Checkpoint(source, answer) => {
                        let checkpoint = self.view.checkpoint(source).await;
                        // Who asked may be gone: the host shuts down.
                        answer.send(checkpoint.map_err(Error::from)).ok();
                    }
                    Request::Repair(repair, answer) => {
                        answer.send(self.repair(repair).await).ok();
                    }
                    Request::Complete(answer) => {
                        answer.send(self.view.set_complete().await.map_err(Error::from)).ok();
                    }
                    Request::Freeze(freeze) => self.freeze = Some(freeze),
                    Request::Apply(batch, answer) => {
                        let until = Instant::now() + MAX_HELD;
                        self.held.insert(batch.source, Held { batch, answer, until });
                    }
                }
            }
            self.fold().await;
            self.hold_still().await;
        }
        self.view
    }

    /// Waits while somebody wants the view to hold still, once it has folded as much as they
    /// want.
    async fn hold_still(&mut self) {
        let reached = self.watermarks.reached();
        let is_due = |freeze: &mut Freeze| reached.includes(&freeze.at_least, &Source::ALL);
        let Some(Freeze { frozen, .. }) = self.freeze.take_if(is_due) else { return };
        let mut checkpoints = Vec::new();
        for source in Source::ALL {
            match self.view.checkpoint(source).await {
                Ok(checkpoint) => checkpoints.push((source, checkpoint)),
                // Whoever wants it is told by the channel that is gone.
                Err(error) => {
                    tracing::warn!(%error, "cannot read the view's checkpoints");
                    return;
                }
            }
        }
        let (switch, switched) = oneshot::channel();
        if frozen.send(Frozen { checkpoints, switch }).is_err() {
            return;
        }
        if let Ok((view, done)) = switched.await {
            done.send(self.replace(view).await).ok();
        }
    }

    /// Writes another view from now on.
    async fn replace(&mut self, mut view: View) -> Result<View, Error> {
        view.replace(&self.view).await?;
        if self.view.is_complete().await? {
            view.set_complete().await?;
        }
        self.folded = view.newest_revision().await?;
        // After a rewind it has folded something else.
        self.watermarks.set_all(view.position().await?);
        self.pages.forget_all();
        Ok(std::mem::replace(&mut self.view, view))
    }

    async fn repair(&mut self, repair: Repair) -> Result<Repaired, Refused> {
        let (repaired, posts) = match repair {
            Repair::Retry { source, sequence, actor } => {
                self.view.retry(source, sequence, &actor).await?
            }
            Repair::Drop { .. } => return Err(Refused::Kept("query")),
            Repair::Outdated(source) => {
                self.view.retry_outdated(source).await.map_err(Error::from)?
            }
        };
        self.pages.forget(&posts);
        Ok(repaired)
    }

    /// Takes what is asked for, and waits for it no longer than what is held may wait;
    /// says whether anything can still come.
    async fn receive(&mut self, requests: &mut Vec<Request>) -> bool {
        let until = self.held.values().map(|held| held.until).min();
        let received = self.requests.recv_many(requests, MAX_WAITING);
        match until {
            Some(until) => !matches!(timeout_at(until, received).await, Ok(0)),
            None => received.await > 0,
        }
    }

    /// Folds what is ready of the batches that are held, and answers those that are
    /// folded wholly.
    async fn fold(&mut self) {
        let (mut batches, mut answers) = (Vec::new(), Vec::new());
        let mut cut = Vec::new();
        for (source, count) in self.ready() {
            let Some(Held { batch, answer, .. }) = self.held.remove(&source) else { continue };
            if count == batch.deliveries.len() {
                batches.push(batch);
                answers.push(answer);
            } else {
                let (batch, rest) = batch.split_at(count);
                batches.push(batch);
                cut.push((rest, answer));
            }
        }
        if batches.is_empty() {
            return;
        }
        let applied = self.apply(&batches).await;
        let error = applied.err().map(|error| chassis::error::chain(&error));
        // What is left waits its own time: folding the first part may have taken longer.
        let until = Instant::now() + MAX_HELD;
        for (batch, answer) in cut {
            if error.is_some() {
                // It cannot be folded either: its consumer restarts from its checkpoint.
                answers.push(answer);
            } else {
                self.held.insert(batch.source, Held { batch, answer, until });
            }
        }
        for answer in answers {
            answer.send(error.clone().map_or(Ok(()), |error| Err(Error::internal(error)))).ok();
        }
    }

    /// How many events of each batch are to be folded now, of those with any.
    fn ready(&self) -> Vec<(Source, usize)> {
        let now = Instant::now();
        let is_late = |source| self.held.get(&source).is_some_and(|held| held.until <= now);
        let deliveries = |source| -> &[Delivery] {
            self.held.get(&source).map_or(&[], |held| &held.batch.deliveries)
        };
        let comments = deliveries(Source::Comment);
        let decisions = deliveries(Source::Moderation);
        let late = is_late(Source::Comment);
        let (made, mut decided) = pair::ready(comments, decisions, self.folded, late);
        if is_late(Source::Moderation) {
            decided = decisions.len();
        }
        let posts = deliveries(Source::Post).len();
        let ready = [(Source::Post, posts), (Source::Comment, made), (Source::Moderation, decided)];
        ready.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    async fn apply(&mut self, batches: &[Batch]) -> Result<(), crate::store::Error> {
        let began = Instant::now();
        let posts = self.view.apply(batches).await?;
        if let Some(visible) = &self.visible {
            visible.folded(batches, began.elapsed());
        }
        // First no cached page is old any more, then readers may rely on the position.
        self.pages.forget(&posts);
        for batch in batches {
            self.watermarks.set(batch.source, batch.to.sequence);
            if let Some(visible) = &self.visible {
                visible.seen(batch);
            }
            if batch.source == Source::Comment {
                self.folded = self.folded.max(pair::newest(&batch.deliveries));
            }
        }
        Ok(())
    }
}

impl Sink for Folder {
    const MAX_BATCH: usize = MAX_BATCH;

    /// Of two views, the one that is made beside the other leaves dead letters alone.
    fn replays(&self) -> bool {
        !self.repairs
    }

    async fn checkpoint(&self, source: Source) -> Result<Checkpoint, Error> {
        if self.repairs && !self.are_repairs_paused() {
            let repaired = self.repair(Repair::Outdated(source)).await;
            repaired.map_err(Error::internal)?;
        }
        let (answer, answered) = oneshot::channel();
        self.send(Request::Checkpoint(source, answer)).await?;
        answered.await.map_err(|_| Error::ShuttingDown)?
    }

    async fn apply(&self, batch: Batch) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Apply(batch, answer)).await?;
        answered.await.map_err(|_| Error::ShuttingDown)?
    }

    async fn rewind(&self, source: Source, _owners: &Owners) -> Result<(), Error> {
        // A view that is being made began with nothing: its maker begins again.
        Err(Error::internal(format!("{source} was rewound during the rebuild")))
    }
}

impl Repairs for Folder {
    fn repair(&self, repair: Repair) -> BoxFuture<'_, Result<Repaired, Refused>> {
        Box::pin(async move {
            if self.are_repairs_paused() {
                return Err(Refused::Rebuilding);
            }
            let (answer, answered) = oneshot::channel();
            self.send(Request::Repair(repair, answer)).await?;
            answered.await.map_err(|_| Error::ShuttingDown)?
        })
    }
}

impl Folder {
    /// The same, which leaves dead letters alone.
    pub(crate) fn without_repairs(self) -> Self {
        Self { repairs: false, ..self }
    }

    /// Has dead letters be left alone.
    pub(crate) fn pause_repairs(&self) -> Paused {
        self.pauses.fetch_add(1, Ordering::AcqRel);
        Paused(self.pauses.clone())
    }

    fn are_repairs_paused(&self) -> bool {
        self.pauses.load(Ordering::Acquire) > 0
    }

    /// What was folded.
    pub(crate) fn position(&self) -> Position {
        self.watermarks.reached()
    }

    /// Notes that the view has once caught up with the streams.
    pub(crate) async fn complete(&self) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Complete(answer)).await?;
        answered.await.map_err(|_| Error::ShuttingDown)?
    }

    /// Has the view hold still as soon as it has folded at least this.
    pub(crate) async fn freeze(&self, at_least: Position) -> Result<Frozen, Error> {
        let (frozen, holds_still) = oneshot::channel();
        self.send(Request::Freeze(Freeze { at_least, frozen })).await?;
        holds_still.await.map_err(|_| Error::ShuttingDown)
    }

    async fn send(&self, request: Request) -> Result<(), Error> {
        self.requests.send(request).await.map_err(|_| Error::ShuttingDown)
    }
}
