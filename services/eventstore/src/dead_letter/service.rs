//! `DeadLetterService`: the dead letters of the services that run in this process.

use std::{collections::BTreeMap, sync::Arc};

use agora_proto::{
    admin::v1::{
        self as proto, DropDeadLetterRequest, DropDeadLetterResponse, GetDeadLetterRequest,
        GetDeadLetterResponse, ListDeadLetterActionsRequest, ListDeadLetterActionsResponse,
        ListDeadLettersRequest, ListDeadLettersResponse, RetryDeadLetterRequest,
        RetryDeadLetterResponse, dead_letter_service_server::DeadLetterService,
    },
    event::v1 as event,
};
use bus_schema::{Event, KindName, Sequence, Source};
use futures::future::BoxFuture;
use sqlx::Pool;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Action, DeadLetter, Letters, Refused, Repair, Repairs};
use crate::{admin::source, database::SqlResult};
use chassis::{
    Call, Error,
    error::status,
    fields::{Fields, Limit, Max},
};

/// How many letters are read and sent at once.
const CHUNK: u32 = 1_000;
/// Why a letter is given up: at most 300 characters, one line.
const REASON: Limit = Limit { may_be_empty: false, max: Max::Characters(300), multiline: false };

/// The dead letters of one service.
#[derive(Clone)]
pub struct Letterbox {
    sources: &'static [Source],
    reads: Arc<dyn Reads>,
    repairs: Arc<dyn Repairs>,
}

impl Letterbox {
    /// The letters of these sources: who reads them, and who repairs.
    pub fn new<L: Letters>(
        sources: &'static [Source],
        readers: Pool<L>,
        repairs: impl Repairs + 'static,
    ) -> Self {
        Self { sources, reads: Arc::new(readers), repairs: Arc::new(repairs) }
    }
}

/// Dead letters to be read, whatever database they are in.
trait Reads: Send + Sync {
    fn letters(&self, source: Source, after: Sequence)
    -> BoxFuture<'_, SqlResult<Vec<DeadLetter>>>;
    fn letter(
        &self,
        source: Source,
        sequence: Sequence,
    ) -> BoxFuture<'_, SqlResult<Option<DeadLetter>>>;
    fn actions(&self, limit: u32) -> BoxFuture<'_, SqlResult<Vec<Action>>>;
}

impl<L: Letters> Reads for Pool<L> {
    fn letters(
        &self,
        source: Source,
        after: Sequence,
    ) -> BoxFuture<'_, SqlResult<Vec<DeadLetter>>> {
        Box::pin(async move { L::letters(&mut *self.acquire().await?, source, after, CHUNK).await })
    }

    fn letter(
        &self,
        source: Source,
        sequence: Sequence,
    ) -> BoxFuture<'_, SqlResult<Option<DeadLetter>>> {
        Box::pin(async move { L::letter(&mut *self.acquire().await?, source, sequence).await })
    }

    fn actions(&self, limit: u32) -> BoxFuture<'_, SqlResult<Vec<Action>>> {
        Box::pin(async move { L::actions(&mut *self.acquire().await?, limit).await })
    }
}

/// Serves the dead letters of one process.
#[derive(Clone)]
pub(crate) struct Letterboxes {
    pub(crate) boxes: Arc<BTreeMap<&'static str, Letterbox>>,
    pub(crate) shutdown: CancellationToken,
}

impl Letterboxes {
    /// The letters of a service, or those of all if it has no name.
    fn find(&self, service: &str) -> Result<Vec<(&'static str, Letterbox)>, Refused> {
        let wanted = |name: &str| service.is_empty() || service == name;
        let boxes = self.boxes.iter().filter(|(name, _)| wanted(name));
        let boxes: Vec<_> = boxes.map(|(name, letters)| (*name, letters.clone())).collect();
        if boxes.is_empty() {
            return Err(Refused::NotHere(service.to_owned()));
        }
        Ok(boxes)
    }

    /// The letters of a service that must have a name.
    fn find_one(&self, service: &str) -> Result<(&'static str, Letterbox), Refused> {
        let mut boxes = self.boxes.iter().filter(|(name, _)| **name == service);
        let found = boxes.next().map(|(name, letters)| (*name, letters.clone()));
        found.ok_or_else(|| Refused::NotHere(service.to_owned()))
    }

    async fn get(&self, message: &GetDeadLetterRequest) -> Result<GetDeadLetterResponse, Refused> {
        let source = source(message.source)?;
        let (service, letters) = self.find_one(&message.service)?;
        let sequence = Sequence(message.sequence);
        let letter = letters.reads.letter(source, sequence).await.map_err(Error::from)?;
        let letter = letter.ok_or(Refused::Absent { owner: source, sequence })?;
        let event = letter.event.to_vec();
        Ok(GetDeadLetterResponse { dead_letter: Some(encode(service, letter)), event })
    }

    async fn repair(
        &self,
        service: &str,
        repair: Repair,
    ) -> Result<(u32, Option<proto::DeadLetter>), Refused> {
        let (service, letters) = self.find_one(service)?;
        let repaired = letters.repairs.repair(repair).await?;
        Ok((repaired.applied, repaired.stopped_at.map(|letter| encode(service, letter))))
    }

    async fn actions(
        &self,
        message: &ListDeadLetterActionsRequest,
    ) -> Result<ListDeadLetterActionsResponse, Refused> {
        let mut fields = Fields::new();
        let Some(size) = fields.page_size("page_size", message.page_size) else {
            return Err(fields.into_error().into());
        };
        let mut actions = Vec::new();
        for (service, letters) in self.find(&message.service)? {
            let limit = u32::try_from(size).unwrap_or(u32::MAX);
            let done = letters.reads.actions(limit).await.map_err(Error::from)?;
            actions.extend(done.into_iter().map(|action| (service, action)));
        }
        actions.sort_by_key(|(_, action)| std::cmp::Reverse(action.time));
        actions.truncate(size);
        let actions = actions.into_iter().map(|(service, action)| encode_action(service, action));
        Ok(ListDeadLetterActionsResponse { actions: actions.collect() })
    }
}

impl Letterbox {
    /// Sends all letters, until nobody listens any more.
    async fn send(
        &self,
        service: &'static str,
        sender: &mpsc::Sender<Result<ListDeadLettersResponse, Status>>,
    ) {
        for source in self.sources {
            let mut after = Sequence::ZERO;
            loop {
                let letters = match self.reads.letters(*source, after).await {
                    Ok(letters) => letters,
                    Err(error) => {
                        sender.send(Err(status(Error::from(error)))).await.ok();
                        return;
                    }
                };
                let Some(last) = letters.last() else { break };
                after = last.sequence;
                let dead_letters = letters.into_iter().map(|letter| encode(service, letter));
                let answer = ListDeadLettersResponse { dead_letters: dead_letters.collect() };
                if sender.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Who asks, if they may.
fn actor(call: &Call) -> Result<String, Error> {
    call.caller.authorize_everywhere()?;
    Ok(call.caller.id().ok_or(Error::TokenMissing)?.to_owned())
}

fn encode(service: &str, letter: DeadLetter) -> proto::DeadLetter {
    let event = Event::decode(letter.event);
    proto::DeadLetter {
        service: service.to_owned(),
        source: event::Source::from(letter.source).into(),
        sequence: letter.sequence.0,
        aggregate_id: letter.aggregate.map(|id| id.to_string()).unwrap_or_default(),
        r#type: event.map(|event| KindName::of(&event.kind).to_string()).unwrap_or_default(),
        error: letter.error,
        park_time: Some(letter.parked_at.into()),
        program: letter.program,
    }
}

fn encode_action(service: &str, action: Action) -> proto::DeadLetterAction {
    proto::DeadLetterAction {
        service: service.to_owned(),
        source: event::Source::from(action.source).into(),
        sequence: action.sequence.0,
        time: Some(action.time.into()),
        actor: action.actor,
        action: action.done.as_str().to_owned(),
        reason: action.reason,
        error: action.error,
        event: action.event.to_vec(),
    }
}

#[tonic::async_trait]
impl DeadLetterService for Letterboxes {
    type ListDeadLettersStream = ReceiverStream<Result<ListDeadLettersResponse, Status>>;

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<Self::ListDeadLettersStream>, Status> {
        let (call, message) = Call::open(request);
        call.caller.authorize_everywhere().map_err(status)?;
        let boxes = self.find(&message.service).map_err(status)?;
        let (sender, receiver) = mpsc::channel(2);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let send = async {
                for (service, letters) in boxes {
                    letters.send(service, &sender).await;
                }
            };
            shutdown.run_until_cancelled(send).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_dead_letter(
        &self,
        request: Request<GetDeadLetterRequest>,
    ) -> Result<Response<GetDeadLetterResponse>, Status> {
        let (call, message) = Call::open(request);
        call.caller.authorize_everywhere().map_err(status)?;
        self.get(&message).await.map(Response::new).map_err(status)
    }

    async fn retry_dead_letter(
        &self,
        request: Request<RetryDeadLetterRequest>,
    ) -> Result<Response<RetryDeadLetterResponse>, Status> {
        let (call, message) = Call::open(request);
        let actor = actor(&call).map_err(status)?;
        let source = source(message.source).map_err(status)?;
        let repair = Repair::Retry { source, sequence: Sequence(message.sequence), actor };
        let (applied, stopped_at) = self.repair(&message.service, repair).await.map_err(status)?;
        Ok(Response::new(RetryDeadLetterResponse { applied, stopped_at }))
    }

    async fn drop_dead_letter(
        &self,
        request: Request<DropDeadLetterRequest>,
    ) -> Result<Response<DropDeadLetterResponse>, Status> {
        let (call, message) = Call::open(request);
        let actor = actor(&call).map_err(status)?;
        let mut fields = Fields::new();
        let source = fields.check("source", source(message.source).map_err(|_| "must be a source"));
        let reason = fields.text("reason", &message.reason, REASON);
        let (Some(source), Some(reason)) = (source, reason) else {
            return Err(status(fields.into_error()));
        };
        let sequence = Sequence(message.sequence);
        let repair = Repair::Drop { source, sequence, actor, reason };
        let (applied, stopped_at) = self.repair(&message.service, repair).await.map_err(status)?;
        Ok(Response::new(DropDeadLetterResponse { applied, stopped_at }))
    }

    async fn list_dead_letter_actions(
        &self,
        request: Request<ListDeadLetterActionsRequest>,
    ) -> Result<Response<ListDeadLetterActionsResponse>, Status> {
        let (call, message) = Call::open(request);
        call.caller.authorize_everywhere().map_err(status)?;
        self.actions(&message).await.map(Response::new).map_err(status)
    }
}
