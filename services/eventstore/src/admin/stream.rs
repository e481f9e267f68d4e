//! `StreamService`: the streams of the sources that run in this process.

use std::{collections::HashMap, sync::Arc, time::Duration};

use agora_proto::admin::v1::{
    AdoptStreamRequest, AdoptStreamResponse, GetStreamStatusRequest, GetStreamStatusResponse,
    RefillStreamRequest, RefillStreamResponse, RestoreDatabaseRequest, RestoreDatabaseResponse,
    VerifyStreamRequest, VerifyStreamResponse, stream_service_server::StreamService,
};
use bus_schema::Source;
use futures::future::BoxFuture;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::source;
use crate::relay::{AdoptError, Adopted, Checked, Keeper, Proof, RestoreError, Restored};
use chassis::{
    Call, Error, Explain,
    error::{Fault, status},
};

/// How often it is looked how far a stream is filled.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a refill may make no progress.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many messages wait for a caller that is slow.
const MAX_WAITING: usize = 4;

/// Serves the streams of one process.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) streams: Arc<HashMap<Source, Arc<dyn Keeps>>>,
    pub(crate) shutdown: CancellationToken,
}

/// A stream and its journal, whatever database that is in.
pub(crate) trait Keeps: Send + Sync {
    /// Compares the ends.
    fn check(&self) -> BoxFuture<'_, Result<Checked, Error>>;
    /// Compares everything.
    fn prove<'a>(
        &'a self,
        progress: &'a (dyn Fn(u64, u64, u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Proof, Error>>;
    /// Has the relay delete the stream and fill it again, if the journal holds it.
    fn order_refill(&self);
    /// Makes the stream this installation's, if it belongs to whom the operator says.
    fn adopt<'a>(&'a self, from: Option<&'a str>) -> BoxFuture<'a, Result<Adopted, AdoptError>>;
    /// Makes the database again.
    fn restore<'a>(
        &'a self,
        fork: bool,
        progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Restored, RestoreError>>;
}

impl<B: crate::database::Backend> Keeps for Keeper<B> {
    fn check(&self) -> BoxFuture<'_, Result<Checked, Error>> {
        Box::pin(self.check())
    }

    fn prove<'a>(
        &'a self,
        progress: &'a (dyn Fn(u64, u64, u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Proof, Error>> {
        Box::pin(self.prove(progress))
    }

    fn order_refill(&self) {
        self.order_refill();
    }

    fn adopt<'a>(&'a self, from: Option<&'a str>) -> BoxFuture<'a, Result<Adopted, AdoptError>> {
        Box::pin(self.adopt(from))
    }

    fn restore<'a>(
        &'a self,
        fork: bool,
        progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Restored, RestoreError>> {
        Box::pin(self.restore(fork, progress))
    }
}

/// Why nothing is done about a stream.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Chassis(#[from] Error),
    #[error("this server does not publish the stream of {0}")]
    NotHere(Source),
    #[error("another replica runs the relay: ask that one")]
    NotLeading,
    #[error("the stream equals the journal: there is nothing to refill")]
    Healthy,
    #[error("the stream is unchanged: {0}")]
    NotProven(String),
    #[error(transparent)]
    NotRestored(#[from] RestoreError),
    #[error(transparent)]
    NotAdopted(#[from] AdoptError),
    #[error("the refill made no progress for {} s", PATIENCE.as_secs())]
    Stuck,
}

impl Explain for Refused {
    fn fault(&self) -> Fault {
        match self {
            Self::Chassis(error) => error.fault(),
            Self::NotHere(source) => {
                Fault::new(Code::NotFound, "STREAM_NOT_HERE").with("source", source)
            }
            Self::NotLeading => Fault::new(Code::FailedPrecondition, "NOT_LEADING"),
            Self::Healthy => Fault::new(Code::FailedPrecondition, "STREAM_HEALTHY"),
            Self::NotProven(_) => Fault::new(Code::FailedPrecondition, "STREAM_NOT_PROVEN"),
            Self::NotRestored(RestoreError::Chassis(error)) => error.fault(),
            Self::NotRestored(error) => Fault::new(Code::FailedPrecondition, reason(error)),
            Self::NotAdopted(error) => adopt_fault(error),
            Self::Stuck => Fault::new(Code::Unavailable, "STREAM_NOT_FILLED"),
        }
    }
}

fn adopt_fault(error: &AdoptError) -> Fault {
    match error {
        AdoptError::Chassis(error) => error.fault(),
        AdoptError::Absent => Fault::new(Code::FailedPrecondition, "STREAM_ABSENT"),
        AdoptError::NotFrom { from, messages, .. } => {
            Fault::new(Code::FailedPrecondition, "STREAM_NOT_FROM")
                .with("installation", from.as_deref().unwrap_or_default())
                .with("messages", messages)
        }
        AdoptError::Differs(_) => Fault::new(Code::FailedPrecondition, "STREAM_DIFFERS"),
    }
}

const fn reason(error: &RestoreError) -> &'static str {
    match error {
        RestoreError::Forked(_) => "FORKED",
        RestoreError::NotForked => "NOT_FORKED",
        RestoreError::Broken(_) => "JOURNAL_BROKEN",
        RestoreError::Absent
        | RestoreError::Unverified(_)
        | RestoreError::Silent
        | RestoreError::Chassis(_) => "STREAM_NOT_PROVEN",
    }
}

impl Streams {
    /// The stream that a request names, if the caller may see it.
    fn find(&self, call: &Call, number: i32) -> Result<Arc<dyn Keeps>, Refused> {
        call.caller.authorize_everywhere()?;
        let source = source(number)?;
        self.streams.get(&source).cloned().ok_or(Refused::NotHere(source))
    }

    /// Answers with what a task sends, until nobody listens any more.
    fn answer<T, F>(
        &self,
        task: impl FnOnce(mpsc::Sender<Result<T, Status>>) -> F + Send + 'static,
    ) -> Response<ReceiverStream<Result<T, Status>>>
    where
        T: Send + 'static,
        F: Future<Output = Result<(), Refused>> + Send,
    {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let listener = sender.clone();
            let ended = tokio::select! {
                ended = task(sender) => ended,
                () = listener.closed() => return,
                () = shutdown.cancelled() => Err(Error::ShuttingDown.into()),
            };
            if let Err(refused) = ended {
                listener.send(Err(status(refused))).await.ok();
            }
        });
        Response::new(ReceiverStream::new(receiver))
    }
}

async fn verify(
    stream: &dyn Keeps,
    sender: &mpsc::Sender<Result<VerifyStreamResponse, Status>>,
) -> Result<(), Refused> {
    let tell = |done, total, damaged| {
        let answer = VerifyStreamResponse { done, total, damaged, ..Default::default() };
        // Who is slow misses some of it.
        sender.try_send(Ok(answer)).ok();
    };
    let proof = stream.prove(&tell).await?;
    let answer = VerifyStreamResponse {
        done: proof.compared,
        total: proof.compared,
        damaged: proof.damaged,
        equal: proof.is_equal(),
        finding: proof.found,
    };
    sender.send(Ok(answer)).await.ok();
    Ok(())
}

async fn refill(
    stream: &dyn Keeps,
    sender: &mpsc::Sender<Result<RefillStreamResponse, Status>>,
) -> Result<(), Refused> {
    let before = stream.check().await?;
    if !before.leads {
        return Err(Refused::NotLeading);
    }
    let damaged = before.extent.and_then(|extent| extent.created);
    let tell = |done, total, _| {
        sender.try_send(Ok(RefillStreamResponse { proving: true, done, total })).ok();
    };
    let proof = stream.prove(&tell).await?;
    if proof.is_equal() {
        return Err(Refused::Healthy);
    }
    if !proof.is_held {
        return Err(Refused::NotProven(proof.found));
    }
    // The relay proves it once more, as the stream may have changed.
    stream.order_refill();
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let Checked { extent, journal, .. } = stream.check().await?;
        // The damaged one may say of itself that it is whole.
        let made = extent.filter(|extent| extent.is_whole() && extent.created != damaged);
        let done = made.map_or(0, |extent| extent.last.0);
        let answer = RefillStreamResponse { proving: false, done, total: journal.0 };
        if sender.send(Ok(answer)).await.is_err() || done >= journal.0 {
            return Ok(());
        }
        if done != last {
            (last, moved) = (done, Instant::now());
        } else if moved.elapsed() > PATIENCE {
            return Err(Refused::Stuck);
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn restore(
    stream: &dyn Keeps,
    fork: bool,
    sender: &mpsc::Sender<Result<RestoreDatabaseResponse, Status>>,
) -> Result<(), Refused> {
    if !stream.check().await?.leads {
        return Err(Refused::NotLeading);
    }
    let tell = |done, total| {
        sender.try_send(Ok(RestoreDatabaseResponse { done, total, ..Default::default() })).ok();
    };
    let Restored { journal, kept, parked } = stream.restore(fork, &tell).await?;
    let answer = RestoreDatabaseResponse {
        done: journal.0,
        total: journal.0,
        journal_sequence: journal.0,
        kept: kept.0,
        parked,
    };
    sender.send(Ok(answer)).await.ok();
    Ok(())
}

#[tonic::async_trait]
impl StreamService for Streams {
    type VerifyStreamStream = ReceiverStream<Result<VerifyStreamResponse, Status>>;
    type RefillStreamStream = ReceiverStream<Result<RefillStreamResponse, Status>>;
    type RestoreDatabaseStream = ReceiverStream<Result<RestoreDatabaseResponse, Status>>;

    async fn get_stream_status(
        &self,
        request: Request<GetStreamStatusRequest>,
    ) -> Result<Response<GetStreamStatusResponse>, Status> {
        let (call, message) = Call::open(request);
        let stream = self.find(&call, message.source).map_err(status)?;
        let checked = stream.check().await.map_err(status)?;
        let extent = checked.extent.unwrap_or_default();
        Ok(Response::new(GetStreamStatusResponse {
            journal_sequence: checked.journal.0,
            present: checked.extent.is_some(),
            messages: extent.messages,
            first_sequence: extent.first,
            last_sequence: extent.last.0,
            finding: checked.found,
            leads: checked.leads,
            installation: checked.installation.unwrap_or_default(),
        }))
    }

    async fn verify_stream(
        &self,
        request: Request<VerifyStreamRequest>,
    ) -> Result<Response<Self::VerifyStreamStream>, Status> {
        let (call, message) = Call::open(request);
        let stream = self.find(&call, message.source).map_err(status)?;
        Ok(self.answer(|sender| async move { verify(&*stream, &sender).await }))
    }

    async fn refill_stream(
        &self,
        request: Request<RefillStreamRequest>,
    ) -> Result<Response<Self::RefillStreamStream>, Status> {
        let (call, message) = Call::open(request);
        let stream = self.find(&call, message.source).map_err(status)?;
        Ok(self.answer(|sender| async move { refill(&*stream, &sender).await }))
    }

    async fn adopt_stream(
        &self,
        request: Request<AdoptStreamRequest>,
    ) -> Result<Response<AdoptStreamResponse>, Status> {
        let (call, message) = Call::open(request);
        let stream = self.find(&call, message.source).map_err(status)?;
        let from = Some(message.from.as_str()).filter(|from| !from.is_empty());
        let adopted = stream.adopt(from).await.map_err(Refused::from).map_err(status)?;
        Ok(Response::new(AdoptStreamResponse {
            installation: adopted.installation.to_string(),
            from: adopted.from.unwrap_or_default(),
            stream_sequence: adopted.stream.0,
            journal_sequence: adopted.journal.0,
        }))
    }

    async fn restore_database(
        &self,
        request: Request<RestoreDatabaseRequest>,
    ) -> Result<Response<Self::RestoreDatabaseStream>, Status> {
        let (call, message) = Call::open(request);
        let stream = self.find(&call, message.source).map_err(status)?;
        let fork = message.fork;
        Ok(self.answer(move |sender| async move { restore(&*stream, fork, &sender).await }))
    }
}
