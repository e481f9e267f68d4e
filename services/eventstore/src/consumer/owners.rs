//! Asking the owner of a source what its journal holds: consumers do where its stream is
//! not what they have applied. A journal of this process is read directly, one of another
//! process by its `JournalService`.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use agora_proto::admin::v1::{
    GetJournalHeadRequest, JournalRow, ReadJournalRequest, ReadJournalResponse,
    journal_service_client::JournalServiceClient,
};
use bus_schema::{Checkpoint, Hash, Sequence, Source};
use tonic::{Request, Status, Streaming};

use crate::{
    admin::{Journal, Refused},
    journal::Row,
    suspicion::Suspicions,
};
use chassis::{
    StartError, config,
    dial::{self, Target, Traced},
};

/// How long an owner may take to answer, or to send more rows.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the owners' journals are; cheap to clone.
#[derive(Clone)]
pub struct Owners(Arc<Known>);

struct Known {
    here: RwLock<HashMap<Source, Journal>>,
    elsewhere: HashMap<Source, JournalServiceClient<Traced>>,
    token_file: Option<PathBuf>,
    suspicions: Suspicions,
}

/// Why an owner does not say what its journal holds.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Its address is not known.
    #[error(
        "the owner of the journal of {0} is not configured: set owners.{0}_url (AGORA_OWNERS__…)"
    )]
    Unknown(Source),
    /// It cannot be read, or was not compared with its stream yet.
    #[error("the journal cannot be read")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The owner answers with an error, or not at all.
    #[error("the owner does not answer: {}", .0.message())]
    Call(Box<Status>),
    /// There is no token to send along.
    #[error("owners.token_file")]
    Token(#[from] dial::NoToken),
    /// A row does not chain to the one before.
    #[error("the journal of {0} has a broken hash chain at {1}")]
    Broken(Source, Sequence),
    /// A row is none.
    #[error("the owner sent unreadable rows")]
    Malformed,
}

impl From<Status> for AskError {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

impl From<Refused> for AskError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused.into())
    }
}

impl From<sqlx::Error> for AskError {
    fn from(error: sqlx::Error) -> Self {
        Self::Refused(error.into())
    }
}

/// What an owner says of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its journal holds the same up to there.
    Same,
    /// Its journal holds something else there, or ends before.
    Another,
}

impl Owners {
    pub(crate) fn new(
        settings: &config::Owners,
        suspicions: Suspicions,
    ) -> Result<Self, StartError> {
        let mut elsewhere = HashMap::new();
        for (source, url) in settings.urls() {
            let Some(url) = url else { continue };
            let target: Target = url.parse().map_err(|error| {
                let text = format!("owners.{source}_url is no address: {url}: {error}");
                StartError::Other(text.into())
            })?;
            elsewhere.insert(source, JournalServiceClient::new(target.balanced()));
        }
        let token_file = settings.token_file.clone();
        let here = RwLock::default();
        Ok(Self(Arc::new(Known { here, elsewhere, token_file, suspicions })))
    }

    /// Says that a source's journal is in this process.
    pub(crate) fn add(&self, source: Source, journal: Journal) {
        self.0.here.write().unwrap_or_else(PoisonError::into_inner).insert(source, journal);
    }

    /// Says that something is wrong with a source's stream.
    pub(crate) fn suspect(&self, source: Source) {
        self.0.suspicions.raise(source);
    }

    /// Where a source's journal ends.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn head(&self, source: Source) -> Result<Checkpoint, AskError> {
        if let Some(journal) = self.here(source) {
            return Ok(journal.head().await?);
        }
        let request = GetJournalHeadRequest { source: number(source) };
        let (mut client, mut request) = self.call(source, request)?;
        request.set_timeout(ANSWER);
        // While its name has no address, a call waits.
        let asking = tokio::time::timeout(ANSWER, client.get_journal_head(request)).await;
        let answer = asking.map_err(|_| late())??.into_inner();
        let hash = answer.hash.as_slice().try_into().map_err(|_| AskError::Malformed)?;
        Ok(Checkpoint { sequence: Sequence(answer.sequence), hash: Hash(hash) })
    }

    /// Whether a source's journal holds what was applied here.
    pub(crate) async fn ask(
        &self,
        source: Source,
        applied: Checkpoint,
    ) -> Result<Verdict, AskError> {
        let head = self.head(source).await?;
        if applied == Checkpoint::ZERO {
            return Ok(Verdict::Same);
        }
        if head.sequence < applied.sequence {
            return Ok(Verdict::Another);
        }
        let rows = self.read(source, applied.sequence).await?.next().await?;
        let row = rows.and_then(|rows| rows.into_iter().next()).ok_or(AskError::Malformed)?;
        Ok(if row.checkpoint() == applied { Verdict::Same } else { Verdict::Another })
    }

    /// Reads a source's journal from `from` on, up to the end that it has now.
    ///
    /// # Errors
    /// [`AskError`].
    pub(crate) async fn read(&self, source: Source, from: Sequence) -> Result<Reading, AskError> {
        if let Some(journal) = self.here(source) {
            let end = journal.head().await?.sequence;
            return Ok(Reading::Here { journal, from, end });
        }
        let request = ReadJournalRequest { source: number(source), from_sequence: from.0 };
        let (mut client, request) = self.call(source, request)?;
        let calling = tokio::time::timeout(ANSWER, client.read_journal(request)).await;
        let answers = calling.map_err(|_| late())??;
        Ok(Reading::Elsewhere(Box::new(answers.into_inner())))
    }

    fn here(&self, source: Source) -> Option<Journal> {
        self.0.here.read().unwrap_or_else(PoisonError::into_inner).get(&source).cloned()
    }

    /// A client of the service that keeps a journal, and a request with the token.
    fn call<T>(
        &self,
        source: Source,
        message: T,
    ) -> Result<(JournalServiceClient<Traced>, Request<T>), AskError> {
        let client = self.0.elsewhere.get(&source).cloned().ok_or(AskError::Unknown(source))?;
        let request = dial::request(message, self.0.token_file.as_deref())?;
        Ok((client, request))
    }
}

/// A journal that is being read.
pub(crate) enum Reading {
    Here { journal: Journal, from: Sequence, end: Sequence },
    Elsewhere(Box<Streaming<ReadJournalResponse>>),
}

impl Reading {
    /// The next rows, at least one; none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Row>>, AskError> {
        match self {
            Self::Here { journal, from, end } => {
                let mut rows = journal.rows(*from).await?;
                rows.retain(|row| row.sequence <= *end);
                let Some(last) = rows.last() else { return Ok(None) };
                *from = last.sequence.next();
                Ok(Some(rows))
            }
            Self::Elsewhere(answers) => {
                let next = tokio::time::timeout(ANSWER, answers.message()).await;
                let Some(answer) = next.map_err(|_| late())?? else { return Ok(None) };
                answer.rows.into_iter().map(row).collect::<Result<_, _>>().map(Some)
            }
        }
    }
}

fn row(row: JournalRow) -> Result<Row, AskError> {
    let hash = row.hash.as_ref().try_into().map_err(|_| AskError::Malformed)?;
    Ok(Row { sequence: Sequence(row.sequence), hash: Hash(hash), event: row.event })
}

fn number(source: Source) -> i32 {
    agora_proto::event::v1::Source::from(source).into()
}

fn late() -> Status {
    Status::deadline_exceeded(format!("no answer within {} s", ANSWER.as_secs()))
}
