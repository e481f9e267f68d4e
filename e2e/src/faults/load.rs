//! Clients that write, decide and read while faults happen, and remember every answer.

mod moderate;
mod read;
mod write;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use agora_proto::post::v1::CreatePostRequest;
use bus_schema::{Event, Source};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{sync::RwLock, task::JoinSet, time::sleep};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::{
    SITE,
    record::{Record, What},
};
use crate::{Client, Result, Role, Service, System, comments};

/// How many clients write comments.
const WRITERS: u64 = 6;
/// How many clients read without a token.
const READERS: u64 = 2;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(3);
/// How long an operation is tried.
const OPERATION: Duration = Duration::from_secs(90);
/// How long an operation is tried on once the clients are to end.
const LAST: Duration = Duration::from_secs(30);
/// How long a client waits before it calls again.
const RETRY: Duration = Duration::from_millis(30);
/// How long a client rests between operations: the faults are to be tried, not the machine.
const REST_MS: std::ops::Range<u64> = 2..15;

/// Clients at work.
pub struct Load {
    tasks: JoinSet<Result>,
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) record: Record,
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
    pub async fn start(system: &System, seed: u64) -> Result<Self> {
        let record = Record::default();
        let author = system.client("ada", Role::Author)?;
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
            let answer = author.post.clone().create_post(request).await?.into_inner();
            let id = answer.post.unwrap_or_default().post_id;
            posts.push(id.clone());
            record.acknowledged(begun, request_id, What::Post { id: id.parse()?, title });
        }
        let shared = Arc::new(Shared {
            record,
            stopped: OnceLock::new(),
            pause: Arc::default(),
            texts: comments()?,
            posts,
            takings: AtomicU64::new(0),
            lost_views: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS {
            let name = format!("writer-{number}");
            let caller = Caller::new(system, &name, Role::Author, &shared, seed + number)?;
            tasks.spawn(caller.write());
        }
        let caller = Caller::new(system, "moderator", Role::Moderator, &shared, seed + 100)?;
        tasks.spawn(caller.moderate());
        // The views of several replicas are not equally far.
        let is_alone = system.replicas(Service::Query) == 1;
        for number in 0..READERS {
            let client = system.anonymous()?;
            let rng = StdRng::seed_from_u64(seed + 200 + number);
            tasks.spawn(Caller { client, shared: shared.clone(), rng, takings: 0 }.read(is_alone));
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
    fn new(
        system: &System,
        user: &str,
        role: Role,
        shared: &Arc<Shared>,
        seed: u64,
    ) -> Result<Self> {
        let client = system.client(user, role)?;
        let (shared, rng) = (shared.clone(), StdRng::seed_from_u64(seed));
        Ok(Self { client, shared, rng, takings: 0 })
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
        sleep(Duration::from_millis(self.rng.random_range(REST_MS))).await;
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
        let begun = Instant::now();
        let is_over = || {
            let stopped = self.shared.stopped.get();
            begun.elapsed() > OPERATION || stopped.is_some_and(|at| at.elapsed() > LAST)
        };
        while !is_over() {
            let answered = {
                let _writing = self.shared.pause.read().await;
                let mut request = Request::new(message.clone());
                request.set_timeout(CALL);
                call(request).await
            };
            match answered {
                Ok(answer) => return Outcome::Done(answer.into_inner()),
                Err(status) if may_retry(&status) => {
                    self.shared.record.told().retries += 1;
                    sleep(RETRY).await;
                }
                Err(status) => return Outcome::Refused(status),
            }
        }
        self.shared.record.told().given_up += 1;
        Outcome::GivenUp
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
