use std::{convert::Infallible, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bus_schema::{Checkpoint, Sequence};
use chassis::{Error, bus::StreamError, host::Health};
use sqlx::Pool;
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    compare::{CompareError, Finding, compare},
    damage::Damage,
    inspect::Orders,
    publish::{Failed, Publisher},
    stream::{Extent, Remote},
    verify::{Verified, verify},
};
use crate::{
    Position,
    committer::Committer,
    consumer::read::ReadError,
    database::Backend,
    domain::{Domain, Store},
    gate::Gate,
    leader::Leadership,
    suspicion::Suspicions,
};

/// How many rows are read from the journal, or imported, at once.
pub(super) const CHUNK: u32 = 1_000;
/// How often the journal is looked at even if nobody says that it has grown.
const POLL: Duration = Duration::from_secs(1);
/// How often the stream's end is compared with the journal even if all is well.
const COMPARE: Duration = Duration::from_secs(10);
/// How often a whole stream is read against its journal.
const VERIFY_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after that it is not read again.
const VERIFY_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The pause of a replica that waits until the one that leads has done something.
const LEADER_PAUSE: Duration = Duration::from_millis(500);

/// The relay of one source.
pub(crate) struct Relay<S: Store> {
    pub(super) committer: Committer<S>,
    pub(super) readers: Pool<S::Backend>,
    heads: watch::Receiver<Position>,
    pub(super) leadership: Leadership,
    pub(super) remote: Remote,
    shutdown: CancellationToken,
    health: Health,
    pub(super) healing: Healing,
    pub(super) damage: Damage,
    /// Whether journal and stream were ever found to agree.
    agreed: bool,
}

/// What a relay does about a damaged stream.
pub(crate) struct Healing {
    /// Whether it is made anew.
    pub(crate) refills: bool,
    /// Who may know of damage that its ends do not show.
    pub(crate) suspicions: Suspicions,
    /// What operators order.
    pub(crate) orders: Orders,
}

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("cannot compare journal and stream")]
    Compare(#[from] CompareError),
    #[error("cannot publish")]
    Publish(#[from] Failed),
    #[error("cannot read the journal")]
    Journal(#[from] sqlx::Error),
    #[error("{what}")]
    Damaged { what: String, may_write: bool },
    #[error("{what}")]
    Missing { what: String, stream: Extent },
    #[error("cannot delete the damaged stream")]
    Delete(#[source] StreamError),
    #[error("cannot create the stream")]
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
    #[error("database history changed")]
    Reverted,
    #[error("waiting for the leader to {0}")]
    NotLeading(&'static str),
    #[error("an operator gave an order")]
    Ordered,
    #[error("this replica was elected")]
    Elected,
    #[error("this replica was deposed")]
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
        remote: Remote,
        healing: Healing,
        shutdown: CancellationToken,
        health: Health,
    ) -> Self {
        health.set_ready(false, "waiting for NATS");
        let heads = committer.watermarks().subscribe();
        Self {
            committer,
            readers,
            heads,
            leadership,
            remote,
            shutdown,
            health,
            healing,
            damage: Damage::new(S::Domain::SOURCE),
            agreed: false,
        }
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
            let reverts = self.committer.reverts();
            let Err(ended) = self.run_session(reverts.clone()).await;
            let text = chassis::error::chain(&ended);
            let waits_for_leader = matches!(ended, Ended::NotLeading(_));
            match ended {
                Ended::Foreign(found) if !self.agreed => return Err(Refused(found)),
                Ended::Foreign(found) | Ended::Halted(found) => {
                    tracing::error!(error = %text, "journal and stream differ");
                    self.health.set_ready(false, &found);
                    self.committer.set_gate(Gate::Halted(found));
                }
                // Said in the log already. The journal stays as it is until an operator decides.
                Ended::Compare(CompareError::Foreign(foreign)) => {
                    let found = foreign.to_string();
                    self.health.set_ready(false, &found);
                    self.committer.set_gate(Gate::Halted(found));
                }
                Ended::Damaged { what, may_write } => {
                    self.damage.at_ends(true);
                    tracing::error!(
                        error = what,
                        "the stream is damaged: nothing is published until it is refilled"
                    );
                    // The journal holds as much as the stream did: it may go on growing.
                    if may_write {
                        self.agreed = true;
                        self.health.set_ready(true, &what);
                        self.committer.open_gate(&reverts);
                    } else {
                        self.health.set_ready(false, &what);
                        self.committer.set_gate(Gate::Comparing(what));
                    }
                }
                Ended::Elected | Ended::Deposed => {
                    tracing::info!(source = %S::Domain::SOURCE, reason = %text, "relay leadership changed");
                    continue;
                }
                Ended::Reverted => {
                    self.agreed = false;
                    tracing::warn!(error = %text, "writes paused");
                    self.health.set_ready(false, &text);
                    continue;
                }
                _ if self.agreed => {
                    tracing::warn!(error = %text, "relay stopped");
                    // Writes go on all the same.
                    self.health.set_ready(true, &text);
                }
                _ => {
                    tracing::warn!(error = %text, "journal not compared yet");
                    self.health.set_ready(false, &text);
                    self.committer.set_gate(Gate::Comparing(text));
                }
            }
            if started.elapsed() > 2 * MAX_PAUSE {
                pause = pauses.build();
            }
            let longest = match waits_for_leader {
                true => LEADER_PAUSE,
                false => pause.next().unwrap_or(MAX_PAUSE),
            };
            let mut leadership = self.leadership.clone();
            let follows = !leadership.is_held();
            tokio::select! {
                () = sleep(longest) => {}
                // Whoever leads from now on must not sleep first.
                () = leadership.gained(), if follows => {}
            }
        }
    }

    async fn run_session(
        &mut self,
        mut reverts: watch::Receiver<u64>,
    ) -> Result<Infallible, Ended> {
        let end = self.agree().await?;
        self.damage.at_ends(false);
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
        let ended = tokio::select! {
            Err(ended) = self.publish_from(end) => ended,
            ended = reverted => ended,
            () = leadership.lost() => Ended::Deposed,
            () = self.healing.orders.given() => Ended::Ordered,
        };
        if let Ended::Ordered = ended {
            // Nothing is on its way any more: the publisher is gone.
            let Some(ended) = self.verify().await? else { return Err(Ended::Changed) };
            let Ended::Missing { what, stream } = ended else { return Err(ended) };
            self.refill(what, stream.last, stream).await?;
            return Err(Ended::Changed);
        }
        if let Ended::Missing { what, stream } = ended {
            // Nothing is on its way any more: the publisher is gone.
            let now = self.remote.extent().await.map_err(CompareError::from)?;
            self.refill(what, stream.last, now.unwrap_or(stream)).await?;
            return Err(Ended::Changed);
        }
        Err(ended)
    }

    /// While another replica leads: writes stop here too if journal and stream differ.
    async fn watch(&self) -> Result<Infallible, Ended> {
        loop {
            sleep(COMPARE).await;
            match compare::<S::Backend>(&self.remote, &self.readers).await? {
                Finding::Foreign(what) => return Err(Ended::Foreign(what)),
                Finding::Differs(what) => return Err(Ended::Halted(what)),
                // The replica that leads is at it.
                Finding::Damaged { .. }
                | Finding::Absent
                | Finding::Shorter(_)
                | Finding::Longer { .. } => {}
            }
        }
    }

    /// Publishes what the journal holds beyond `end`, for ever. From time to time the
    /// stream's end is compared again.
    async fn publish_from(&self, end: Checkpoint) -> Result<Infallible, Ended> {
        // Kept: to take one from the pool costs as much as to read from it.
        let mut connection = self.readers.acquire().await?;
        let mut publisher = Publisher::new(&self.remote);
        let mut sent = end.sequence;
        let mut poll = interval(POLL);
        let mut compared = Instant::now();
        let mut heads = self.heads.clone();
        let damage = self.look_for_damage();
        tokio::pin!(damage);
        loop {
            let head = heads.borrow_and_update().get(S::Domain::SOURCE);
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
                changed = heads.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                _ = poll.tick() => {}
                found = &mut damage => return Err(found),
            }
        }
    }

    /// Reads the whole stream once a day, and when a consumer suspects it, until messages of
    /// it are found to be missing.
    async fn look_for_damage(&self) -> Ended {
        loop {
            let suspected = self.healing.suspicions.raised(S::Domain::SOURCE);
            let asked = timeout(VERIFY_EVERY, suspected).await.is_ok();
            tracing::info!(stream = self.remote.name(), asked, "verifying the stream");
            match self.verify().await {
                Ok(None) => self.damage.within(false),
                Ok(Some(damage)) => {
                    self.damage.within(true);
                    if self.healing.refills {
                        return damage;
                    }
                    let error = chassis::error::chain(&damage);
                    tracing::error!(stream = self.remote.name(), error, "the stream is damaged");
                }
                Err(error) => {
                    let error = chassis::error::chain(&error);
                    tracing::warn!(stream = self.remote.name(), error, "cannot verify");
                }
            }
            // A consumer that is not helped goes on asking.
            sleep(VERIFY_PAUSE).await;
        }
    }

    /// What is wrong with the stream, if something is.
    async fn verify(&self) -> Result<Option<Ended>, CompareError> {
        let extent = self.remote.extent().await?;
        let Some(stream) = extent else { return Ok(None) };
        let name = self.remote.name();
        Ok(match verify::<S::Backend>(&self.remote, &self.readers, stream, &|_, _, _| {}).await? {
            Verified::Held { damaged: 0 } | Verified::TooShort(_) => None,
            Verified::Held { damaged } => {
                let what = format!("stream {name} is damaged: {damaged} messages are missing");
                Some(Ended::Missing { what, stream })
            }
            Verified::Differs(at) => {
                Some(Ended::Halted(format!("stream {name} holds another event at {at}")))
            }
            Verified::Broken(at) => Some(Ended::Halted(format!(
                "the journal of {name} has a broken hash chain at {at}"
            ))),
        })
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
