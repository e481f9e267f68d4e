//! Clients that write, decide and read while faults happen, and remember every answer.

mod moderate;
mod read;
mod write;

use std::{
    error::Error as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use agora_proto::post::v1::CreatePostRequest;
use bus_schema::{Event, Source};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::RwLock,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, sleep},
};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::{
    SITE,
    record::{Late, Method, Record, What},
};
use crate::{Access, Client, Result, Role, comments};

/// How many clients write comments.
const WRITERS: u64 = 6;
/// How many clients read without a token.
const READERS: u64 = 2;
/// How many operations a second one client makes of a steady load, unless that takes too many
/// clients.
const STEADY_RATE: f64 = 2.5;
/// How many clients make a steady load at most.
const MAX_STEADY: f64 = 64.0;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(3);
/// How long an operation is tried.
const OPERATION: Duration = Duration::from_secs(90);
/// How long an operation is tried on once the clients are to end.
const LAST: Duration = Duration::from_secs(30);
/// How long a client waits before it calls again.
const RETRY: Duration = Duration::from_millis(30);
/// How long it waits at most if it is asked to.
const MAX_RETRY: Duration = Duration::from_secs(2);
/// How long an operation may take, with all its calls, before its caller would give up.
const LATE: Duration = Duration::from_secs(5);
/// How long a client rests between operations: the faults are to be tried, not the machine.
const REST_MS: std::ops::Range<u64> = 2..15;

/// How clients work.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// One operation after the other, and a call that fails again at once: the system is to
    /// be tried.
    Pressing,
    /// So many operations a second; who is asked to come back later, does.
    Steady {
        /// Of those who write.
        writes: f64,
        /// Of those who read.
        reads: f64,
    },
}

impl Manner {
    /// How many clients write and read, and how often one of them begins something.
    fn clients(self) -> [(u64, Option<Duration>); 2] {
        let steady = |rate: f64| {
            let clients = (rate / STEADY_RATE).ceil().min(MAX_STEADY);
            let every = (clients > 0.0).then(|| Duration::from_secs_f64(clients / rate));
            (clients as u64, every)
        };
        match self {
            Self::Pressing => [(WRITERS, None), (READERS, None)],
            Self::Steady { writes, reads } => [steady(writes), steady(reads)],
        }
    }
}

/// Clients at work.
pub struct Load {
    tasks: JoinSet<Result>,
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) record: Record,
    manner: Manner,
    /// When the clients were told to end.
    stopped: OnceLock<Instant>,
    /// Writers hold it while they call: who takes it alone, has them wait.
    pause: Arc<RwLock<()>>,
    texts: Vec<String>,
    posts: Vec<String>,
    /// How often a source was taken back: what clients know of before, may not be.
    takings: AtomicU64,
    /// How often the view was lost.
    lost_views: AtomicU64,
}

impl Load {
    /// Makes posts, and starts the clients.
    ///
    /// # Errors
    /// If the posts cannot be made.
    pub async fn start(access: &Access, manner: Manner, seed: u64) -> Result<Self> {
        let record = Record::default();
        let author = access.client("ada", Role::Author)?;
        let mut posts = Vec::new();
        for number in 0..3 {
            let title = format!("post {number}");
            let request_id = Uuid::now_v7();
            let request = CreatePostRequest {
                site: SITE.into(),
                title: title.clone(),
                request_id: request_id.to_string(),
                ..Default::default()
            };
            let begun = Instant::now();
            let answer = loop {
                match author.post.clone().create_post(request.clone()).await {
                    Ok(answer) => break answer.into_inner(),
                    Err(status) if may_retry(&status) && begun.elapsed() < LAST => {
                        sleep(RETRY).await;
                    }
                    Err(status) => return Err(status.into()),
                }
            };
            let id = answer.post.unwrap_or_default().post_id;
            posts.push(id.clone());
            record.acknowledged(begun, request_id, What::Post { id: id.parse()?, title });
        }
        let shared = Arc::new(Shared {
            record,
            manner,
            stopped: OnceLock::new(),
            pause: Arc::default(),
            texts: comments()?,
            posts,
            takings: AtomicU64::new(0),
            lost_views: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        let [(writers, write_every), (readers, read_every)] = manner.clients();
        for number in 0..writers {
            let client = access.client(&format!("writer-{number}"), Role::Author)?;
            tasks.spawn(Caller::new(client, write_every, &shared, seed + number).write());
        }
        let client = access.client("moderator", Role::Moderator)?;
        tasks.spawn(Caller::new(client, None, &shared, seed + 100).moderate());
        // The views of several replicas are not equally far.
        let is_alone = access.addresses.query.len() == 1 && matches!(manner, Manner::Pressing);
        for number in 0..readers {
            let client = access.anonymous()?;
            let caller = Caller::new(client, read_every, &shared, seed + 200 + number);
            tasks.spawn(caller.read(is_alone));
        }
        Ok(Self { tasks, shared })
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.record.told().acknowledged.len()
    }

    /// Has nobody write until what is returned is dropped.
    pub async fn pause(&self) -> tokio::sync::OwnedRwLockWriteGuard<()> {
        self.shared.pause.clone().write_owned().await
    }

    /// A source was taken back, while nobody wrote, and has lost these events.
    pub fn taken_back(&self, source: Source, lost: &[Event]) {
        self.shared.record.told().taken_back(source, lost);
        self.shared.takings.fetch_add(1, Ordering::AcqRel);
    }

    /// The view begins anew.
    pub fn view_is_lost(&self) {
        self.shared.lost_views.fetch_add(1, Ordering::AcqRel);
    }

    /// Has the clients end what they are at.
    ///
    /// # Errors
    /// If one of them has failed.
    pub async fn stop(mut self) -> Result {
        self.shared.stopped.get_or_init(Instant::now);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

struct Caller {
    client: Client,
    shared: Arc<Shared>,
    rng: StdRng,
    /// How often it begins something, if not as often as it can.
    every: Option<Interval>,
    /// How often a source had been taken back when it looked last.
    takings: u64,
}

/// What a call has come to.
enum Outcome<T> {
    Done(T),
    /// It was refused for a reason that a retry does not change.
    Refused(Status),
    /// Nobody knows.
    GivenUp,
}

impl Caller {
    fn new(client: Client, every: Option<Duration>, shared: &Arc<Shared>, seed: u64) -> Self {
        let every = every.map(|every| {
            let mut every = tokio::time::interval(every);
            // What was missed during an outage is not made up for.
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every
        });
        let (shared, rng) = (shared.clone(), StdRng::seed_from_u64(seed));
        Self { client, shared, rng, every, takings: 0 }
    }

    fn goes_on(&self) -> bool {
        self.shared.stopped.get().is_none()
    }

    /// Whether a source was taken back since it was looked last.
    fn is_taken_back(&mut self) -> bool {
        let takings = self.shared.takings.load(Ordering::Acquire);
        std::mem::replace(&mut self.takings, takings) != takings
    }

    /// Something must not be, unless a source was taken back meanwhile.
    fn finding(&self, what: String) {
        if self.shared.takings.load(Ordering::Acquire) == self.takings {
            self.shared.record.finding(what);
        }
    }

    async fn rest(&mut self) {
        match &mut self.every {
            Some(every) => drop(every.tick().await),
            None => sleep(Duration::from_millis(self.rng.random_range(REST_MS))).await,
        }
    }

    /// Waits before a call is made again.
    async fn wait(&self, status: &Status) {
        let asked = match self.shared.manner {
            Manner::Pressing => None,
            Manner::Steady { .. } => status.get_details_retry_info(),
        };
        let asked = asked.and_then(|asked| asked.retry_delay).unwrap_or_default();
        sleep(asked.clamp(RETRY, MAX_RETRY)).await;
    }

    /// Calls until there is an answer that a retry would not change, always with the same
    /// message.
    async fn until_answered<M, T, F>(
        &self,
        message: &M,
        call: impl Fn(Request<M>) -> F,
    ) -> Outcome<T>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.shared.record.told().operations += 1;
        let (at, begun) = (SystemTime::now(), Instant::now());
        let is_over = || {
            let stopped = self.shared.stopped.get();
            begun.elapsed() > OPERATION || stopped.is_some_and(|at| at.elapsed() > LAST)
        };
        while !is_over() {
            let (called, answered) = {
                let _writing = self.shared.pause.read().await;
                let mut request = Request::new(message.clone());
                request.set_timeout(CALL);
                (SystemTime::now(), call(request).await)
            };
            match answered {
                Ok(answer) => {
                    self.was_late(at, begun, Method::of::<M>());
                    return Outcome::Done(answer.into_inner());
                }
                Err(status) if may_retry(&status) => {
                    self.shared.record.failed(called, Method::of::<M>(), &status);
                    self.wait(&status).await;
                }
                Err(status) => return Outcome::Refused(status),
            }
        }
        self.shared.record.told().given_up += 1;
        self.was_late(at, begun, Method::of::<M>());
        Outcome::GivenUp
    }

    /// Takes note of an operation that has taken longer than its caller would wait.
    fn was_late(&self, at: SystemTime, begun: Instant, method: Method) {
        let took = begun.elapsed();
        if took > LATE {
            self.shared.record.told().late.push(Late { at, took, method });
        }
    }

    /// A refusal that is none of what the rules know.
    fn unexpected(&self, what: &str, status: &Status) {
        const RULES: [&str; 3] = ["PARENT_REJECTED", "PARENT_DELETED", "COMMENT_DELETED"];
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        if RULES.contains(&reason.as_str()) {
            return;
        }
        let (code, message) = (status.code(), status.message());
        self.finding(format!("{what}: {code:?} {reason} {message}"));
    }
}

/// Whether a caller is told, or must assume, that the same call may succeed later.
pub(super) fn may_retry(status: &Status) -> bool {
    // Only what broke on the way has a source: a server's answer comes without.
    if status.source().is_some() {
        return true;
    }
    // A loser among decisions is ABORTED, too, and says who has won.
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::Unknown
    )
}
