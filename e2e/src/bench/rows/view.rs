//! The view is made anew beside the one that is served, while readers go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agora_proto::{
    admin::v1::{RebuildPhase, RebuildViewRequest},
    query::v1::{GetThreadRequest, ListFeedRequest, ServedFrom},
};
use bus_schema::Source;
use eventstore::Position;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use super::{Bench, Rounds, SITE, idle_read, per_second, thread};
use crate::{
    Client, Result, Role,
    bench::{
        load::{Rate, quantile},
        report::Row,
    },
};

/// How many comments each post gets.
const COMMENTS_OF_A_POST: u64 = 10_000;
/// How many readers there are, who each wait for an answer before they ask again.
const READERS: u64 = 10;
/// How often each reader asks: all together 200 times a second.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long readers go on with the new view.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// A reader does not notice what takes no longer than this.
const UNNOTICED_MS: f64 = 100.0;

/// What readers were told.
#[derive(Default)]
struct Told {
    /// From when an answer was due to be asked for, until it came.
    took: Vec<Duration>,
    /// Reads that failed, went back, or were not answered by the view.
    wrong: Vec<String>,
}

impl Told {
    fn add(&mut self, more: Self) {
        self.took.extend(more.took);
        self.wrong.extend(more.wrong);
    }

    fn milliseconds(&mut self, share: f64) -> f64 {
        quantile(&mut self.took, share).as_secs_f64() * 1e3
    }
}

/// Readers at work.
struct Readers {
    tasks: JoinSet<Told>,
    stop: Arc<AtomicBool>,
}

impl Readers {
    async fn stop(mut self) -> Result<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        while let Some(told) = self.tasks.join_next().await {
            all.add(told?);
        }
        Ok(all)
    }
}

impl Bench {
    /// The rebuild of a view of so many comments, alone and while 200 reads a second go on: its
    /// rate, absolutely and against an ordered read of the same streams that does nothing and
    /// has the same company; and what readers notice.
    ///
    /// # Errors
    /// If comments cannot be written, or the rebuild fails.
    pub async fn view(&self, comments: u64) -> Result<[Row; 7]> {
        let mut posts = Vec::new();
        for begun in (0..comments).step_by(COMMENTS_OF_A_POST as usize) {
            let post = self.create_post(&format!("view {begun}")).await?;
            self.fill(&post, COMMENTS_OF_A_POST.min(comments - begun)).await?;
            posts.push(post);
        }
        self.settle().await?;
        let nats = self.up.run("nats")?;
        let (mut alone, mut under_reads) = (Rounds::default(), Rounds::default());
        let (mut before, mut during) = (Told::default(), Told::default());
        for _ in 0..self.rounds {
            let idle = idle_read(nats).await?;
            alone.add(self.rebuild_beside().await?, idle);

            let readers = self.read(&posts)?;
            sleep(self.round).await;
            before.add(readers.stop().await?);
            let readers = self.read(&posts)?;
            let idle = idle_read(nats).await?;
            before.wrong.extend(readers.stop().await?.wrong);
            let readers = self.read(&posts)?;
            under_reads.add(self.rebuild_beside().await?, idle);
            sleep(AFTERWARDS).await;
            during.add(readers.stop().await?);
        }
        for wrong in before.wrong.iter().chain(&during.wrong).take(10) {
            eprintln!("bench: {wrong}");
        }

        let rate = |what, rounds: &Rounds| {
            Row::at_least(what, per_second(rounds.rate()), String::new(), rounds.rate(), 100_000.0)
        };
        let latency = |what, share, before: &mut Told, during: &mut Told| {
            let (calm, busy) = (before.milliseconds(share), during.milliseconds(share));
            Row::at_most(what, format!("{busy:.2} ms"), format!("{calm:.2} ms"), busy, UNNOTICED_MS)
        };
        Ok([
            rate("rebuild of a large view, events/s", &alone),
            alone.row("rebuild of a large view vs idle ordered read", 0.6),
            rate("the same under 200 reads/s, events/s", &under_reads),
            under_reads.row("rebuild vs ordered read, each under 200 reads/s", 0.6),
            Row::at_most(
                "reads that fail or go back meanwhile",
                format!("{} of {}", during.wrong.len(), during.took.len()),
                format!("{} of {}", before.wrong.len(), before.took.len()),
                during.wrong.len() as f64,
                0.0,
            ),
            latency("reads during a rebuild, p50 in ms", 0.5, &mut before, &mut during),
            latency("reads during a rebuild, p99 in ms", 0.99, &mut before, &mut during),
        ])
    }

    /// Starts readers of threads and feeds.
    fn read(&self, posts: &[String]) -> Result<Readers> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..READERS {
            let client = self.up.reader()?;
            tasks.spawn(read_on(client, number, posts.to_vec(), stop.clone()));
        }
        Ok(Readers { tasks, stop })
    }

    /// Has the view be made anew: how many events it took how long until the new view had
    /// everything, with its indexes. Then it is compared and served.
    async fn rebuild_beside(&self) -> Result<Rate> {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let began = Instant::now();
        let mut view = self.up.client("bench", Role::Operator)?.view;
        let mut answers = view.rebuild_view(RebuildViewRequest::default()).await?.into_inner();
        let mut complete = None;
        while let Some(answer) = answers.message().await? {
            match answer.phase() {
                RebuildPhase::Comparing => complete = Some((answer.done, began.elapsed())),
                RebuildPhase::Switched => {
                    let (calls, took) = complete.ok_or("the views were not compared")?;
                    eprintln!(
                        "bench: {calls} events, complete after {}, switched after {}",
                        seconds(took),
                        seconds(began.elapsed()),
                    );
                    return Ok(Rate { calls, took });
                }
                _ => {}
            }
        }
        Err("the rebuild has ended without a switch".into())
    }
}

/// Reads threads and feeds in turn, as steadily as answers come. No cache can hold all of
/// the threads: each asks for another number of replies.
async fn read_on(
    mut client: Client,
    reader: u64,
    posts: Vec<String>,
    stop: Arc<AtomicBool>,
) -> Told {
    let mut told = Told::default();
    let mut seen = Position::ZERO;
    let mut number = reader;
    // They do not all ask at the same moment.
    sleep(ASK_EVERY * reader as u32 / READERS as u32).await;
    let mut every = interval(ASK_EVERY);
    while !stop.load(Ordering::Relaxed) {
        let due = every.tick().await;
        number += READERS;
        let post = &posts[number as usize % posts.len()];
        let read = if (number / READERS).is_multiple_of(2) {
            read_thread(&mut client, post, number).await
        } else {
            read_feed(&mut client).await
        };
        told.took.push(due.elapsed());
        match read {
            Ok(position) if position.includes(&seen, &Source::ALL) => seen = position,
            Ok(position) => told.wrong.push(format!("after {seen} a reader saw {position}")),
            Err(error) => told.wrong.push(error.to_string()),
        }
    }
    told
}

async fn read_thread(client: &mut Client, post: &str, number: u64) -> Result<Position> {
    let replies_per_root = Some(number as i32 % 400 + 1);
    let request = GetThreadRequest { replies_per_root, ..thread(post, 50) };
    let answer = client.query.get_thread(request).await?.into_inner();
    from_view(answer.served_from(), &answer.position)
}

async fn read_feed(client: &mut Client) -> Result<Position> {
    let request = ListFeedRequest { site: SITE.into(), page_size: 50, ..Default::default() };
    let answer = client.query.list_feed(request).await?.into_inner();
    from_view(answer.served_from(), &answer.position)
}

fn from_view(served_from: ServedFrom, position: &str) -> Result<Position> {
    if served_from != ServedFrom::View {
        return Err(format!("a read is served from {}", served_from.as_str_name()).into());
    }
    Ok(position.parse()?)
}
