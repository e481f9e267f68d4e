//! What is measured, row by row.

mod baseline;
mod view;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agora_proto::{
    admin::v1::GetJournalHeadRequest,
    comment::v1::{CreateCommentRequest, CreateCommentResponse},
    event::v1::Source,
    moderation::v1::{GetPolicyRequest, Mode, Policy, SetPolicyRequest},
    post::v1::CreatePostRequest,
    query::v1::{GetThreadRequest, ThreadOrder, get_thread_request::Post},
};
use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use prost::Message as _;
use tokio::{
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::{Instant, interval, sleep},
};
use uuid::Uuid;

pub(super) use self::baseline::per_second;
use self::baseline::{Rounds, channels, echo, echo_loop, idle_read, raw_call};
use super::{
    load::{Rate, closed_loop, count_loop, median, quantile},
    report::Row,
    up::Up,
};
use crate::{Client, Result, Role, process::wait_until};

/// The site of everything that is written.
pub(super) const SITE: &str = "bench";
/// Calls in flight.
pub(super) const IN_FLIGHT: usize = 64;
/// Connections that they share.
pub(super) const CONNECTIONS: usize = 4;

/// A running bench.
pub struct Bench {
    up: Up,
    clients: Vec<Client>,
    texts: Arc<Vec<String>>,
    /// How long each measurement of a round lasts.
    round: Duration,
    /// How many rounds of measurement and baseline alternate.
    rounds: usize,
}

impl Bench {
    /// Starts the system, with a policy that approves everything.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(texts: Vec<String>, round: Duration, rounds: usize) -> Result<Self> {
        let up = Up::start().await?;
        let mut admin = up.client("bench", Role::Admin)?.moderation;
        let policy = Policy {
            site: SITE.into(),
            mode: Mode::ApproveUnlessHeld.into(),
            ..Default::default()
        };
        let request =
            SetPolicyRequest { site: SITE.into(), policy: Some(policy), ..Default::default() };
        admin.set_policy(request).await?;
        let mut bench = Self { up, clients: Vec::new(), texts: Arc::new(texts), round, rounds };
        bench.connect()?;
        Ok(bench)
    }

    fn connect(&mut self) -> Result {
        self.clients = (0..CONNECTIONS)
            .map(|_| self.up.client("bench", Role::Author))
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// CreateComment against an empty echo.
    ///
    /// # Errors
    /// The first error of a call.
    pub async fn create_comment(&self) -> Result<Row> {
        let (_echo, url) = echo(0, self.up.data()).await?;
        let channels = channels(&url)?;
        let post = self.create_post("create").await?;
        let mut rounds = Rounds::default();
        for _ in 0..self.rounds {
            let echoed = echo_loop(&channels, self.round).await?;
            let created = closed_loop(IN_FLIGHT, self.round, self.creator(post.clone())).await?;
            rounds.add(created, echoed);
            self.settle().await?;
        }
        Ok(rounds.row("CreateComment, 64 in flight, vs empty echo", 0.35))
    }

    /// Comments a second, from the first call until the last is visible in query.
    ///
    /// # Errors
    /// The first error of a call.
    pub async fn sustained(&self, comments: u64) -> Result<Row> {
        let post = self.create_post("sustained").await?;
        let started = Instant::now();
        count_loop(IN_FLIGHT * 2, comments, self.creator(post.clone())).await?;
        self.visible(&post, comments).await?;
        let rate = Rate { calls: comments, took: started.elapsed() };
        Ok(Row::at_least(
            "comments until visible in query",
            per_second(rate.per_second()),
            String::new(),
            rate.per_second(),
            10_000.0,
        ))
    }

    /// GetThread of 100 comments against an echo of as many bytes.
    ///
    /// # Errors
    /// The first error of a call.
    pub async fn get_thread(&self) -> Result<Row> {
        let post = self.create_post("thread").await?;
        self.fill(&post, 100).await?;
        let request = thread(&post, 100);
        let mut query = self.up.client("bench", Role::Author)?.query;
        let answer = query.get_thread(request.clone()).await?.into_inner();
        if answer.comments.len() != 100 {
            return Err(format!("the thread has {} comments", answer.comments.len()).into());
        }
        let (_echo, url) = echo(answer.encoded_len(), self.up.data()).await?;
        let channels = channels(&url)?;
        let mut rounds = Rounds::default();
        for _ in 0..self.rounds {
            let echoed = echo_loop(&channels, self.round).await?;
            rounds.add(self.read_loop(request.clone()).await?, echoed);
        }
        Ok(rounds.row("GetThread of 100 comments vs echo of its size", 0.7))
    }

    /// The first page of a large thread against that of one of 100 comments.
    ///
    /// # Errors
    /// The first error of a call.
    pub async fn large_thread(&self, comments: u64) -> Result<Row> {
        let small = self.create_post("small").await?;
        self.fill(&small, 100).await?;
        let large = self.create_post("large").await?;
        self.fill(&large, comments).await?;
        let (mut smalls, mut larges, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let first = self.read_fresh(&small).await?;
            let second = self.read_fresh(&large).await?;
            ratios.push(second.as_secs_f64() / first.as_secs_f64());
            smalls.push(first.as_secs_f64() * 1e3);
            larges.push(second.as_secs_f64() * 1e3);
        }
        Ok(Row::at_most(
            "first page of a large thread vs one of 100",
            format!("{:.2} ms of {comments}", median(larges)),
            format!("{:.2} ms", median(smalls)),
            median(ratios),
            1.5,
        ))
    }

    /// The time from the call until a reader without a token finds the comment on the
    /// first page, at 200 calls a second: the median and the 99th percentile. One
    /// reader looks for all, as often as it is answered.
    ///
    /// # Errors
    /// The first error of a call.
    pub async fn latency(&self, calls: u64) -> Result<[Row; 2]> {
        let post = self.create_post("latency").await?;
        self.settle().await?;
        let created: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let writers: JoinHandle<Result> = {
            let create = creator(&self.clients, &self.texts, post.clone());
            let created = created.clone();
            tokio::spawn(async move {
                let mut every = interval(Duration::from_millis(5));
                let mut running: JoinSet<Result> = JoinSet::new();
                for number in 0..calls {
                    every.tick().await;
                    let (started, created) = (Instant::now(), created.clone());
                    let call = create(number as usize % CONNECTIONS, number);
                    running.spawn(async move {
                        let comment = call.await?.comment.ok_or("an answer without a comment")?;
                        let id = comment.comment_id;
                        created.lock().map_err(|_| "a writer panicked")?.insert(id, started);
                        Ok(())
                    });
                }
                while let Some(done) = running.join_next().await {
                    done??;
                }
                Ok(())
            })
        };
        let mut seen: HashMap<String, Instant> = HashMap::new();
        let mut query = self.up.reader()?.query;
        // A page that holds what can have come since the last look, and little more.
        let request = GetThreadRequest { replies_per_root: Some(0), ..thread(&post, 20) };
        let all_in = Instant::now() + Duration::from_millis(calls * 5) + Duration::from_secs(10);
        while (seen.len() as u64) < calls {
            let page = query.get_thread(request.clone()).await?.into_inner();
            let now = Instant::now();
            for comment in page.comments {
                seen.entry(comment.comment_id).or_insert(now);
            }
            if now > all_in {
                return Err("a comment did not become visible within 10 s".into());
            }
            // Tokio's timer would make milliseconds of it.
            spawn_blocking(|| std::thread::sleep(Duration::from_micros(500))).await?;
        }
        writers.await??;
        let created = created.lock().map_err(|_| "a writer panicked")?;
        let mut times = Vec::new();
        for (id, started) in created.iter() {
            times.push(seen.get(id).ok_or("a comment was never seen")?.duration_since(*started));
        }
        let row = |what, share, most, times: &mut [Duration]| {
            let ms = quantile(times, share).as_secs_f64() * 1e3;
            Row::at_most(what, format!("{ms:.2} ms"), String::new(), ms, most)
        };
        Ok([
            row("create → visible at 200/s, p50 in ms", 0.5, 5.0, &mut times),
            row("create → visible at 200/s, p99 in ms", 0.99, 25.0, &mut times),
        ])
    }

    /// Events a second of a rebuild of the view: absolutely, and against an ordered
    /// read of the same streams that does nothing.
    ///
    /// # Errors
    /// If the system does not start again.
    pub async fn rebuild(&mut self) -> Result<[Row; 2]> {
        let position = self.head().await?;
        let idle = idle_read(self.up.run("nats")?).await?;
        let started = Instant::now();
        self.up.restart(false).await?;
        self.connect()?;
        self.reach(&position).await?;
        let without = started.elapsed();

        let started = Instant::now();
        self.up.restart(true).await?;
        self.connect()?;
        self.reach(&position).await?;
        let took = started.elapsed().saturating_sub(without).max(Duration::from_millis(1));
        let rebuilt = Rate { calls: idle.calls, took };
        let measured = per_second(rebuilt.per_second());
        Ok([
            Row::at_least(
                "rebuild of the view, events/s",
                measured.clone(),
                String::new(),
                rebuilt.per_second(),
                100_000.0,
            ),
            Row::at_least(
                "rebuild of the view vs idle ordered read",
                measured,
                per_second(idle.per_second()),
                rebuilt.per_second() / idle.per_second(),
                0.6,
            ),
        ])
    }

    /// Resident memory of everything in one process, idle and just started.
    ///
    /// # Errors
    /// If the system does not start again.
    pub async fn memory() -> Result<Row> {
        let up = Up::start().await?;
        sleep(Duration::from_secs(3)).await;
        let mib = up.resident_bytes()? as f64 / (1024.0 * 1024.0);
        Ok(Row::at_most(
            "resident memory, idle, in MB",
            format!("{mib:.0} MB"),
            String::new(),
            mib,
            80.0,
        ))
    }

    async fn create_post(&self, title: &str) -> Result<String> {
        let mut client = self.clients[0].post.clone();
        let request =
            CreatePostRequest { site: SITE.into(), title: title.into(), ..Default::default() };
        let post = client.create_post(request).await?.into_inner().post;
        Ok(post.ok_or("an answer without a post")?.post_id)
    }

    /// A call that creates a comment on a post.
    fn creator(
        &self,
        post_id: String,
    ) -> impl Fn(usize, u64) -> BoxFuture<'static, Result> + Send + Sync + 'static {
        let create = creator(&self.clients, &self.texts, post_id);
        move |worker, number| create(worker, number).map_ok(drop).boxed()
    }

    async fn fill(&self, post: &str, comments: u64) -> Result {
        count_loop(IN_FLIGHT, comments, self.creator(post.to_owned())).await?;
        self.visible(post, comments).await
    }

    /// Waits until a post has so many visible comments.
    async fn visible(&self, post: &str, comments: u64) -> Result {
        let query = self.clients[0].query.clone();
        let request = GetThreadRequest { replies_per_root: Some(0), ..thread(post, 1) };
        wait_until("the comments to be visible", || {
            let (mut query, request) = (query.clone(), request.clone());
            async move {
                let answer = query.get_thread(request).await;
                answer.is_ok_and(|answer| {
                    let post = answer.into_inner().post;
                    post.is_some_and(|post| post.comment_count >= comments)
                })
            }
        })
        .await
    }

    /// Waits until the view has everything that was written.
    async fn settle(&self) -> Result {
        let position = self.head().await?;
        self.reach(&position).await
    }

    /// The heads of all journals, as a position, once moderation has decided on all that
    /// the others have written.
    async fn head(&self) -> Result<String> {
        let written = [self.head_of(Source::Post).await?, self.head_of(Source::Comment).await?];
        let written = written.join(",");
        let moderation = self.up.client("bench", Role::Admin)?.moderation;
        let request =
            GetPolicyRequest { site: SITE.into(), position: written.clone(), ..Default::default() };
        wait_until("moderation to catch up", || {
            let (mut moderation, request) = (moderation.clone(), request.clone());
            async move { moderation.get_policy(request).await.is_ok() }
        })
        .await?;
        Ok(format!("{written},{}", self.head_of(Source::Moderation).await?))
    }

    /// The head of one journal, as a position.
    async fn head_of(&self, source: Source) -> Result<String> {
        let mut journal = self.up.client("bench", Role::Operator)?.journals.post;
        let request = GetJournalHeadRequest { source: source.into() };
        let head = journal.get_journal_head(request).await?.into_inner();
        let name = source.as_str_name().trim_start_matches("SOURCE_").to_ascii_lowercase();
        Ok(format!("{name}:{}", head.sequence))
    }

    /// Waits until the view is at a position.
    async fn reach(&self, position: &str) -> Result {
        let client = &self.clients[0];
        wait_until("the view to catch up", || client.view_includes(SITE, position)).await
    }

    async fn read_loop(&self, request: GetThreadRequest) -> Result<Rate> {
        let channels = channels(&self.up.url()?)?;
        closed_loop(IN_FLIGHT, self.round, move |worker, _| {
            let channel = channels[worker % channels.len()].clone();
            let request = request.clone();
            async move { raw_call(channel, "/agora.query.v1.QueryService/GetThread", request).await }
        })
        .await
    }

    /// The median time of a first page that no cache can hold: each asks for another
    /// number of replies.
    async fn read_fresh(&self, post: &str) -> Result<Duration> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut query = self.clients[0].query.clone();
        let mut times = Vec::new();
        for _ in 0..50 {
            let replies = NUMBER.fetch_add(1, Ordering::Relaxed) as i32 % 400;
            let request =
                GetThreadRequest { replies_per_root: Some(replies + 1), ..thread(post, 50) };
            let started = Instant::now();
            query.get_thread(request).await?;
            times.push(started.elapsed());
        }
        Ok(quantile(&mut times, 0.5))
    }
}

/// A call that creates a comment on a post.
pub(super) fn creator(
    clients: &[Client],
    texts: &Arc<Vec<String>>,
    post_id: String,
) -> impl Fn(usize, u64) -> BoxFuture<'static, Result<CreateCommentResponse>> + Send + Sync + 'static
{
    let clients: Vec<_> = clients.iter().map(|client| client.comment.clone()).collect();
    let texts = texts.clone();
    move |worker, number| {
        let mut client = clients[worker % clients.len()].clone();
        let request = CreateCommentRequest {
            site: SITE.into(),
            post_id: post_id.clone(),
            body: texts[number as usize % texts.len()].clone(),
            request_id: Uuid::now_v7().to_string(),
            ..Default::default()
        };
        async move { Ok(client.create_comment(request).await?.into_inner()) }.boxed()
    }
}

fn thread(post: &str, page_size: i32) -> GetThreadRequest {
    GetThreadRequest {
        site: SITE.into(),
        post: Some(Post::PostId(post.into())),
        order: ThreadOrder::NewestFirst.into(),
        page_size,
        ..Default::default()
    }
}
