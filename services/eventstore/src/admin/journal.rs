//! `JournalService`: the journals of the services that run in this process, for
//! consumers that meet a wrong stream and for `agora verify`.

use std::{collections::HashMap, sync::Arc};

use agora_proto::{
    admin::v1::{
        GetJournalHeadRequest, GetJournalHeadResponse, JournalRow, ReadJournalRequest,
        ReadJournalResponse, journal_service_server::JournalService,
    },
    event::v1 as event,
};
use bus_schema::{Checkpoint, Sequence, Source};
use futures::future::BoxFuture;
use sqlx::Pool;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use crate::{
    Watermarks,
    database::{Backend, SqlResult},
    gate::Gate,
    journal::Row,
};
use chassis::{
    Call, Error, Explain,
    error::{Fault, status},
};

/// How many rows are read at once at most.
const MAX_ROWS: u32 = 1_000;
/// How many bytes of events a message holds at most, a single event aside.
const MAX_BYTES: usize = 512 * 1024;

/// One source's journal, to be read.
#[derive(Clone)]
pub(crate) struct Journal {
    source: Source,
    rows: Arc<dyn Rows>,
    gate: watch::Receiver<Gate>,
    watermarks: Watermarks,
}

/// A journal's rows, whatever database they are in.
trait Rows: Send + Sync {
    /// Where the journal ends.
    fn head(&self) -> BoxFuture<'_, SqlResult<Checkpoint>>;
    /// The rows from here on, at most [`MAX_ROWS`].
    fn rows(&self, from: Sequence) -> BoxFuture<'_, SqlResult<Vec<Row>>>;
}

impl<B: Backend> Rows for Pool<B> {
    fn head(&self) -> BoxFuture<'_, SqlResult<Checkpoint>> {
        Box::pin(async { B::head(&mut *self.acquire().await?).await })
    }

    fn rows(&self, from: Sequence) -> BoxFuture<'_, SqlResult<Vec<Row>>> {
        Box::pin(async move { B::rows(&mut *self.acquire().await?, from, MAX_ROWS).await })
    }
}

/// Serves the journals of one process.
#[derive(Clone)]
pub(crate) struct Journals {
    pub(crate) journals: Arc<HashMap<Source, Journal>>,
    pub(crate) shutdown: CancellationToken,
}

/// Why a journal is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Chassis(#[from] Error),
    #[error("this server does not keep the journal of {0}")]
    NotHere(Source),
    #[error("the journal is not compared with its stream yet")]
    NotCompared,
}

impl Explain for Refused {
    fn fault(&self) -> Fault {
        match self {
            Self::Chassis(error) => error.fault(),
            Self::NotHere(source) => {
                Fault::new(Code::NotFound, "JOURNAL_NOT_HERE").with("source", source)
            }
            Self::NotCompared => Fault::new(Code::FailedPrecondition, "JOURNAL_NOT_COMPARED"),
        }
    }
}

impl Journals {
    /// The journal that a request names, if the caller may read it.
    fn find(&self, call: &Call, source: i32) -> Result<Journal, Refused> {
        call.caller.authorize_everywhere()?;
        let source = self::source(source)?;
        self.journals.get(&source).cloned().ok_or(Refused::NotHere(source))
    }
}

impl Journal {
    pub(crate) fn new<B: Backend>(
        source: Source,
        readers: Pool<B>,
        gate: watch::Receiver<Gate>,
        watermarks: Watermarks,
    ) -> Self {
        Self { source, rows: Arc::new(readers), gate, watermarks }
    }

    /// Where the journal ends, if it was compared with its stream and is what it was then.
    pub(crate) async fn head(&self) -> Result<Checkpoint, Refused> {
        let seen = self.watermarks.highest(self.source);
        let head = self.rows.head().await.map_err(Error::from)?;
        if *self.gate.borrow() != Gate::Open || head.sequence < seen {
            return Err(Refused::NotCompared);
        }
        Ok(head)
    }

    /// Rows from here on, at most [`MAX_ROWS`].
    pub(crate) async fn rows(&self, from: Sequence) -> SqlResult<Vec<Row>> {
        self.rows.rows(from).await
    }

    /// Sends the rows up to `end`, until nobody listens any more.
    async fn send(
        &self,
        mut from: Sequence,
        end: Sequence,
        sender: &mpsc::Sender<Result<ReadJournalResponse, Status>>,
    ) {
        while from <= end {
            let rows = match self.rows.rows(from).await {
                Ok(rows) => rows,
                Err(error) => {
                    sender.send(Err(status(Error::from(error)))).await.ok();
                    return;
                }
            };
            let rows: Vec<Row> = rows.into_iter().filter(|row| row.sequence <= end).collect();
            let Some(last) = rows.last() else { return };
            from = last.sequence.next();
            for rows in messages(rows) {
                if sender.send(Ok(ReadJournalResponse { rows })).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The source that a request names.
pub(crate) fn source(number: i32) -> Result<Source, Error> {
    let source = event::Source::try_from(number).ok();
    let source = source.and_then(|source| Source::try_from(source).ok());
    source.ok_or_else(|| Error::invalid("source", "must be a source"))
}

/// Rows in messages of at most [`MAX_BYTES`].
fn messages(rows: Vec<Row>) -> Vec<Vec<JournalRow>> {
    let mut messages: Vec<Vec<JournalRow>> = Vec::new();
    let mut bytes = MAX_BYTES;
    for row in rows {
        if bytes + row.event.len() > MAX_BYTES {
            messages.push(Vec::new());
            bytes = 0;
        }
        bytes += row.event.len();
        let row = JournalRow {
            sequence: row.sequence.0,
            hash: row.hash.0.to_vec().into(),
            event: row.event,
        };
        messages.last_mut().expect("a message was begun above").push(row);
    }
    messages
}

#[tonic::async_trait]
impl JournalService for Journals {
    type ReadJournalStream = ReceiverStream<Result<ReadJournalResponse, Status>>;

    async fn get_journal_head(
        &self,
        request: Request<GetJournalHeadRequest>,
    ) -> Result<Response<GetJournalHeadResponse>, Status> {
        let (call, message) = Call::open(request);
        let journal = self.find(&call, message.source).map_err(status)?;
        let head = journal.head().await.map_err(status)?;
        let hash = head.hash.0.to_vec();
        Ok(Response::new(GetJournalHeadResponse { sequence: head.sequence.0, hash }))
    }

    async fn read_journal(
        &self,
        request: Request<ReadJournalRequest>,
    ) -> Result<Response<Self::ReadJournalStream>, Status> {
        let (call, message) = Call::open(request);
        let journal = self.find(&call, message.source).map_err(status)?;
        let head = journal.head().await.map_err(status)?;
        let (sender, receiver) = mpsc::channel(2);
        let from = Sequence(message.from_sequence.max(1));
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            shutdown.run_until_cancelled(journal.send(from, head.sequence, &sender)).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
