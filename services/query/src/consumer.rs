//! What the query service does with events: one task folds what the three consumers
//! hand over, all that waits at the same time in one transaction.

use std::{sync::Arc, time::Duration};

use bus_schema::{Checkpoint, Source};
use chassis::{
    Error, Watermarks,
    consumer::{Batch, Sink},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{pages::Pages, store::View};

/// How many events of a source one transaction takes at most: a view that is far behind
/// has nobody waiting for its disk.
const MAX_BATCH: usize = 16_384;
/// A batch of so many events is one of a source that is far behind.
const LARGE: usize = 1_000;
/// How long a large batch waits for those of other sources.
const LINGER: Duration = Duration::from_millis(100);
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

/// The task that writes the view.
pub(crate) struct Writer {
    view: View,
    requests: mpsc::Receiver<Request>,
    watermarks: Watermarks,
    pages: Arc<Pages>,
}

impl Writer {
    pub(crate) fn new(view: View, watermarks: Watermarks, pages: Arc<Pages>) -> (Self, Folder) {
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        (Self { view, requests, watermarks, pages }, Folder { requests: sender })
    }

    /// Writes until every [`Folder`] is dropped.
    pub(crate) async fn run(mut self) -> Result<(), std::convert::Infallible> {
        let mut waiting = Vec::new();
        while !waiting.is_empty() || self.requests.recv_many(&mut waiting, MAX_WAITING).await > 0 {
            self.await_others(&mut waiting).await;
            let ahead = comments_ahead(&mut waiting);
            let (mut batches, mut answers) = (Vec::new(), Vec::new());
            for request in std::mem::replace(&mut waiting, ahead) {
                match request {
                    Request::Checkpoint(source, answer) => {
                        let checkpoint = self.view.checkpoint(source).await;
                        // Who asked may be gone: the host shuts down.
                        answer.send(checkpoint.map_err(Error::from)).ok();
                    }
                    Request::Apply(batch, answer) => {
                        batches.push(batch);
                        answers.push(answer);
                    }
                }
            }
            if batches.is_empty() {
                continue;
            }
            // Comments before the decisions on them, where both are here.
            batches.sort_by_key(|batch| batch.source);
            let applied = self.apply(&batches).await;
            for answer in answers {
                let outcome = match &applied {
                    Ok(()) => Ok(()),
                    Err(error) => Err(Error::internal(chassis::error::chain(error))),
                };
                answer.send(outcome).ok();
            }
        }
        Ok(())
    }

    /// Far behind, waits a little for comments, or the decisions on them: folded together
    /// they are written once.
    async fn await_others(&mut self, waiting: &mut Vec<Request>) {
        let is_of = |request: &Request, of, least| {
            matches!(request, Request::Apply(batch, _)
                if batch.source == of && batch.deliveries.len() >= least)
        };
        let pair = [Source::Comment, Source::Moderation];
        if !pair.iter().any(|of| waiting.iter().any(|request| is_of(request, *of, LARGE))) {
            return;
        }
        let until = Instant::now() + LINGER;
        while !pair.iter().all(|of| waiting.iter().any(|request| is_of(request, *of, 1)))
            && let Ok(Some(request)) = timeout_at(until, self.requests.recv()).await
        {
            waiting.push(request);
        }
    }

    async fn apply(&mut self, batches: &[Batch]) -> Result<(), crate::store::Error> {
        let posts = self.view.apply(batches).await?;
        // First no cached page is old any more, then readers may rely on the position.
        self.pages.forget(&posts);
        for batch in batches {
            self.watermarks.set(batch.source, batch.to.sequence);
        }
        Ok(())
    }
}

/// Takes out a large batch of comments if the decisions that wait beside it are all on
/// comments before it: once these are folded, the decisions on the batch's own comments
/// come to be folded with it, which is several times cheaper than one after the other.
fn comments_ahead(waiting: &mut Vec<Request>) -> Vec<Request> {
    let large = |source| {
        waiting.iter().position(|request| {
            matches!(request, Request::Apply(batch, _)
                if batch.source == source && batch.deliveries.len() >= LARGE)
        })
    };
    let (Some(comments), Some(decisions)) = (large(Source::Comment), large(Source::Moderation))
    else {
        return Vec::new();
    };
    let comment_of = |index: usize, last: bool| {
        let Request::Apply(batch, _) = &waiting[index] else { return None };
        let delivery = if last { batch.deliveries.last() } else { batch.deliveries.first() };
        delivery?.aggregate()
    };
    // Comments' ids are UUIDs of version 7: they say what came first.
    if comment_of(decisions, true) < comment_of(comments, false) {
        vec![waiting.remove(comments)]
    } else {
        Vec::new()
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

#[cfg(test)]
mod tests {
    use bus_schema::{DecodeError, Hash, Sequence};
    use chassis::consumer::Delivery;
    use uuid::Uuid;

    use super::*;

    /// A batch of as many events, on the comments from the given one on.
    fn request(source: Source, first: u128, count: usize) -> Request {
        let delivery = |comment| Delivery {
            sequence: Sequence(1),
            hash: Hash([0; 32]),
            bytes: Default::default(),
            event: Err(DecodeError::UnknownType { aggregate: Some(Uuid::from_u128(comment)) }),
        };
        let deliveries = (first..).take(count).map(delivery).collect();
        let (from, to) = (Checkpoint::ZERO, Checkpoint::ZERO);
        Request::Apply(Batch { source, from, to, deliveries }, oneshot::channel().0)
    }

    #[test]
    fn comments_wait_only_while_all_decisions_are_on_earlier_ones() {
        let cases = [
            // First comment, how many; first decision, how many; whether comments wait.
            (LARGE as u128, LARGE, 0, LARGE, true),
            (LARGE as u128, LARGE, 1, LARGE, false),
            (0, LARGE, 0, LARGE, false),
            (LARGE as u128, LARGE - 1, 0, LARGE, false),
            (LARGE as u128, LARGE, 0, LARGE - 1, false),
        ];
        for (comment, comments, decision, decisions, wait) in cases {
            let mut waiting = vec![
                request(Source::Comment, comment, comments),
                request(Source::Moderation, decision, decisions),
            ];
            let ahead = comments_ahead(&mut waiting);
            assert_eq!((ahead.len(), waiting.len()), if wait { (1, 1) } else { (0, 2) });
            let is_of_comments = |request: &Request| matches!(request, Request::Apply(batch, _) if batch.source == Source::Comment);
            assert!(ahead.iter().all(is_of_comments));
        }
    }
}
