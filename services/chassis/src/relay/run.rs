use std::{convert::Infallible, time::Duration};

use async_nats::jetstream;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use bus_schema::{Checkpoint, Sequence, Stream};
use sqlx::Pool;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    compare::{CompareError, Finding, compare},
    publish::{Failed, Publisher},
    stream::Remote,
};
use crate::{
    Error, Position,
    committer::{Committer, Gate},
    consumer::read::{ReadError, read},
    host::Health,
    journal::{Backend, Row},
    leader::Leadership,
    owner::{Domain, Store},
};

/// How many rows are read from the journal, or imported, at once.
const CHUNK: u32 = 1_000;
/// How often the journal is looked at even if nobody says that it has grown.
const POLL: Duration = Duration::from_secs(1);
/// How often the stream's end is compared with the journal even if all is well.
const COMPARE: Duration = Duration::from_secs(10);
/// How long a stream may be silent while its tail is imported.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The relay of one source.
pub(crate) struct Relay<S: Store> {
    committer: Committer<S>,
    readers: Pool<S::Backend>,
    heads: watch::Receiver<Position>,
    leadership: Leadership,
    remote: Remote,
    shutdown: CancellationToken,
    health: Health,
    /// Whether journal and stream were ever found to agree.
    agreed: bool,
}

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot compare journal and stream")]
    Compare(#[from] CompareError),
    #[error("cannot publish")]
    Publish(#[from] Failed),
    #[error("cannot read the journal")]
    Journal(#[from] sqlx::Error),
    #[error("cannot make the stream")]
    Create(#[source] async_nats::Error),
    #[error("cannot import the stream's tail")]
    Import(#[source] Error),
    #[error("cannot read the stream's tail")]
    Tail(#[from] ReadError),
    #[error("the stream was silent while its tail was imported")]
    Silent,
    #[error("writes have stopped: {0}")]
    Halted(String),
    #[error("{0}")]
    Foreign(String),
    #[error("the stream has changed")]
    Changed,
    #[error("the database has changed")]
    Reverted,
    #[error("the replica that leads is to {0}")]
    NotLeading(&'static str),
    #[error("this replica leads now")]
    Elected,
    #[error("another replica leads now")]
    Deposed,
}

/// What goes wrong in a way that only an operator can mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(String);

impl<S: Store> Relay<S> {
    pub(crate) fn new(
        committer: Committer<S>,
        readers: Pool<S::Backend>,
        leadership: Leadership,
        jetstream: jetstream::Context,
        stream: Stream,
        shutdown: CancellationToken,
        health: Health,
    ) -> Self {
        health.set_ready(false, "waiting for NATS");
        let heads = committer.watermarks().subscribe();
        let remote = Remote::new(jetstream, stream);
        Self { committer, readers, heads, leadership, remote, shutdown, health, agreed: false }
    }

    /// Runs until the host shuts down.
    ///
    /// # Errors
    /// If the stream belongs to another installation when the service starts.
    pub(crate) async fn run(mut self) -> Result<(), Refused> {
        let shutdown = self.shutdown.clone();
        shutdown.run_until_cancelled(self.run_sessions()).await.unwrap_or(Ok(()))
    }

    async fn run_sessions(&mut self) -> Result<(), Refused> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(MAX_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pause = pauses.build();
        loop {
            let started = Instant::now();
            let Err(ended) = self.run_session().await;
            let text = crate::error::chain(&ended);
            match ended {
                Ended::Foreign(found) if !self.agreed => return Err(Refused(found)),
                Ended::Foreign(found) | Ended::Halted(found) => {
                    tracing::error!(error = %text, "journal and stream differ");
                    self.health.set_ready(false, &found);
                    self.committer.set_gate(Gate::Halted(found));
                }
                Ended::Elected | Ended::Deposed => {
                    tracing::info!(source = %S::Domain::SOURCE, reason = %text, "relay turns");
                    continue;
                }
                Ended::Reverted => {
                    self.agreed = false;
                    tracing::warn!(error = %text, "writes wait");
                    self.health.set_ready(false, &text);
                    continue;
                }
                _ if self.agreed => tracing::warn!(error = %text, "relay stopped"),
                _ => {
                    tracing::warn!(error = %text, "journal not compared yet");
                    self.health.set_ready(false, &text);
                    self.committer.set_gate(Gate::Comparing(text));
                }
            }
            if started.elapsed() > 2 * MAX_PAUSE {
                pause = pauses.build();
            }
            sleep(pause.next().unwrap_or(MAX_PAUSE)).await;
        }
    }

    async fn run_session(&mut self) -> Result<Infallible, Ended> {
        let mut reverts = self.committer.reverts();
        let end = self.agree().await?;
        self.agreed = true;
        self.health.set_ready(true, "running");
        self.committer.open_gate(&reverts);
        let mut leadership = self.leadership.clone();
        let reverted = async {
            // The committer is as long-lived as this.
            reverts.changed().await.ok();
            Ended::Reverted
        };
        if !leadership.is_held() {
            return tokio::select! {
                () = leadership.gained() => Err(Ended::Elected),
                ended = reverted => Err(ended),
                ended = self.watch() => ended,
            };
        }
        tokio::select! {
            ended = self.publish_from(end) => ended,
            ended = reverted => Err(ended),
            () = leadership.lost() => Err(Ended::Deposed),
        }
    }

    /// While another replica leads: writes stop here too if journal and stream differ.
    async fn watch(&self) -> Result<Infallible, Ended> {
        loop {
            sleep(COMPARE).await;
            match compare::<S::Backend>(&self.remote, &self.readers).await? {
                Finding::Foreign(what) => return Err(Ended::Foreign(what)),
                Finding::Differs(what) => return Err(Ended::Halted(what)),
                // The replica that leads is at it.
                Finding::Absent | Finding::Shorter(_) | Finding::Longer { .. } => {}
            }
        }
    }

    /// Compares journal and stream, and heals what can be healed, until the stream
    /// equals the journal up to the stream's end, which is returned.
    async fn agree(&mut self) -> Result<Checkpoint, Ended> {
        loop {
            match compare::<S::Backend>(&self.remote, &self.readers).await? {
                Finding::Shorter(end) => return Ok(end),
                Finding::Absent if !self.leadership.is_held() => {
                    return Err(Ended::NotLeading("make the stream"));
                }
                Finding::Longer { .. } if !self.leadership.is_held() => {
                    return Err(Ended::NotLeading("import the stream's tail"));
                }
                Finding::Absent => {
                    tracing::info!(stream = self.remote.name(), "stream is absent: making it");
                    self.remote.create().await.map_err(Ended::Create)?;
                }
                Finding::Longer { journal, stream } => self.import(journal, stream).await?,
                Finding::Foreign(what) => return Err(Ended::Foreign(what)),
                Finding::Differs(what) => return Err(Ended::Halted(what)),
            }
        }
    }

    /// Imports what the stream holds beyond the journal.
    async fn import(&mut self, journal: Checkpoint, stream: Sequence) -> Result<(), Ended> {
        self.committer.set_gate(Gate::Comparing("the stream's tail is being imported".into()));
        tracing::info!(from = journal.sequence.0, to = stream.0, "importing the stream's tail");

        let (events, mut delivered) = mpsc::channel(CHUNK as usize);
        let jetstream = self.remote.jetstream().clone();
        let reader = AbortOnDropHandle::new(tokio::spawn(async move {
            read(&jetstream, S::Domain::SOURCE, journal, &events).await
        }));
        let mut imported = journal.sequence;
        while imported < stream {
            let mut deliveries = Vec::new();
            let received =
                timeout(SILENCE, delivered.recv_many(&mut deliveries, CHUNK as usize)).await;
            match received {
                Err(_) => return Err(Ended::Silent),
                Ok(0) => break,
                Ok(_) => {}
            }
            let rows: Vec<Row> = deliveries
                .into_iter()
                .map(|event| Row { sequence: event.sequence, hash: event.hash, event: event.bytes })
                .collect();
            imported = rows.last().map_or(imported, |row| row.sequence);
            self.committer.import(rows).await.map_err(Ended::Import)?;
            tracing::info!(imported = imported.0, of = stream.0, "importing");
        }
        if imported >= stream {
            return Ok(());
        }
        Err(match reader.await.unwrap_or(ReadError::Stopped) {
            error @ (ReadError::Differs { .. } | ReadError::Damaged { .. }) => {
                Ended::Halted(error.to_string())
            }
            error => error.into(),
        })
    }

    /// Publishes what the journal holds beyond `end`, for ever. From time to time the
    /// stream's end is compared again.
    async fn publish_from(&mut self, end: Checkpoint) -> Result<Infallible, Ended> {
        let lag = metrics::gauge!(
            "agora_relay_lag_events", "source" => S::Domain::SOURCE.as_str()
        );
        // Kept: to take one from the pool costs as much as to read from it.
        let mut connection = self.readers.acquire().await?;
        let mut publisher = Publisher::new(&self.remote, end.sequence);
        let mut sent = end.sequence;
        let mut poll = interval(POLL);
        let mut compared = Instant::now();
        loop {
            let head = self.heads.borrow_and_update().get(S::Domain::SOURCE);
            lag.set(head.0.saturating_sub(publisher.stored.0) as f64);
            if head > sent {
                let rows = S::Backend::rows(&mut connection, sent.next(), CHUNK).await?;
                for row in &rows {
                    publisher.send(row).await?;
                    sent = row.sequence;
                }
                continue;
            }
            if !publisher.is_waiting() && compared.elapsed() > COMPARE {
                self.check(sent).await?;
                compared = Instant::now();
            }
            tokio::select! {
                settled = publisher.settle_one(), if publisher.is_waiting() => settled?,
                // The committer is gone: the host shuts down, and ends this task.
                changed = self.heads.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                _ = poll.tick() => {}
            }
        }
    }

    /// Checks that the stream still ends as the journal does.
    async fn check(&self, sent: Sequence) -> Result<(), Ended> {
        match compare::<S::Backend>(&self.remote, &self.readers).await? {
            Finding::Shorter(end) if end.sequence == sent => Ok(()),
            found => {
                tracing::warn!(?found, sent = sent.0, "the stream has changed");
                Err(Ended::Changed)
            }
        }
    }
}
