//! What the query service does with events: one task folds what the three consumers
//! hand over, all that waits at the same time in one transaction.

mod pair;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use bus_schema::{Checkpoint, RevisionId, Source};
use chassis::{
    Error, Watermarks,
    consumer::{Batch, Delivery, Sink},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{pages::Pages, store::View};

/// How many events of a source one transaction takes at most: a view that is far behind
/// has nobody waiting for its disk.
const MAX_BATCH: usize = 16_384;
/// How long a comment waits for the decision on it, or a decision for its comment.
const MAX_HELD: Duration = Duration::from_millis(100);
/// Requests that wait; their senders wait for them anyway.
const MAX_WAITING: usize = 8;

/// The way to the task that writes the view.
#[derive(Clone)]
pub(crate) struct Folder {
    requests: mpsc::Sender<Request>,
}

enum Request {
    Checkpoint(Source, oneshot::Sender<Result<Checkpoint, Error>>),
    Apply(Batch, oneshot::Sender<Result<(), Error>>),
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
        let held = BTreeMap::new();
        (Self { view, requests, watermarks, pages, held, folded }, Folder { requests: sender })
    }

    /// Writes until every [`Folder`] is dropped.
    pub(crate) async fn run(mut self) -> Result<(), Infallible> {
        let mut requests = Vec::new();
        while self.receive(&mut requests).await {
            for request in requests.drain(..) {
                match request {
                    Request::Checkpoint(source, answer) => {
                        let checkpoint = self.view.checkpoint(source).await;
                        // Who asked may be gone: the host shuts down.
                        answer.send(checkpoint.map_err(Error::from)).ok();
                    }
                    Request::Apply(batch, answer) => {
                        let until = Instant::now() + MAX_HELD;
                        self.held.insert(batch.source, Held { batch, answer, until });
                    }
                }
            }
            self.fold().await;
        }
        Ok(())
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
                // It cannot be folded either: its consumer begins anew.
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
        let posts = self.view.apply(batches).await?;
        // First no cached page is old any more, then readers may rely on the position.
        self.pages.forget(&posts);
        for batch in batches {
            self.watermarks.set(batch.source, batch.to.sequence);
            if batch.source == Source::Comment {
                self.folded = self.folded.max(pair::newest(&batch.deliveries));
            }
        }
        Ok(())
    }
}

impl Sink for Folder {
    const MAX_BATCH: usize = MAX_BATCH;

    async fn checkpoint(&self, source: Source) -> Result<Checkpoint, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Checkpoint(source, answer)).await?;
        answered.await.map_err(|_| Error::ShuttingDown)?
    }

    async fn apply(&self, batch: Batch) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Apply(batch, answer)).await?;
        answered.await.map_err(|_| Error::ShuttingDown)?
    }
}

impl Folder {
    async fn send(&self, request: Request) -> Result<(), Error> {
        self.requests.send(request).await.map_err(|_| Error::ShuttingDown)
    }
}
