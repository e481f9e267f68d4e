//! Failures that no other file here is about: what becomes of what was written, and who goes
//! on meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
};

use agora_proto::{
    admin::v1::{GetStreamStatusRequest, RefillStreamRequest},
    event::v1::Source,
    moderation::v1::ListCasesRequest,
    query::v1::{GetThreadRequest, ServedFrom, get_thread_request::Post},
};
use async_nats::jetstream::{self, stream};
use e2e::{Client, Databases, Result, Role, Service, Setup, System, wait_until};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::{
    check::{nothing_lost, quiet},
    damage::blocks,
    heal::remove,
    metrics::Exposed,
    write::{Acknowledged, SITE, Writers, create_post},
};

const STREAM: &str = "AGORA_COMMENT";
/// How many bytes a power cut takes from the end of a stream's file.
const CUT: u64 = 4_096;

/// A post with comments that are everywhere.
async fn written(system: &System, comments: u64) -> Result<(String, Acknowledged)> {
    let post = create_post(&mut system.client("ada", Role::Author)?, "failures").await?;
    let acknowledged = Writers::start(system, &post, comments)?.finish().await?;
    quiet(system).await?;
    Ok((post, acknowledged))
}

async fn jetstream(system: &System) -> Result<jetstream::Context> {
    Ok(jetstream::new(system.nats.connect().await?))
}

async fn state(system: &System) -> Result<stream::State> {
    let stream = jetstream(system).await?.get_stream(STREAM).await?;
    Ok(stream.cached_info().state.clone())
}

/// A server that is left alone says so in what it answers, or answers nothing.
async fn has_leader(system: &System) -> bool {
    let Ok(context) = jetstream(system).await else { return false };
    let Ok(stream) = context.get_stream(STREAM).await else { return false };
    stream.cached_info().cluster.as_ref().is_some_and(|cluster| cluster.leader.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_dies_between_commit_and_publish() -> Result {
    let mut system = System::start().await?;
    let (post, mut acknowledged) = written(&system, 200).await?;
    // What is committed now is not published.
    system.nats.kill().await?;
    acknowledged.extend(Writers::start(&system, &post, 300)?.finish().await?);
    system.process(Service::Comment).kill().await?;
    system.nats.restart().await?;
    assert_eq!(state(&system).await?.last_sequence, 200);
    system.process(Service::Comment).restart()?;
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_loses_an_acknowledged_tail() -> Result {
    let mut system = System::start().await?;
    let (post, mut acknowledged) = written(&system, 1_000).await?;
    system.nats.kill().await?;
    let block = blocks(system.folder())?.pop().ok_or("no file holds messages")?;
    let file = fs::File::options().write(true).open(block)?;
    file.set_len(file.metadata()?.len() - CUT)?;
    // Else it would have published the rest before anybody can look.
    system.process(Service::Comment).pause().await?;
    system.nats.restart().await?;
    let last = state(&system).await?.last_sequence;
    assert!(0 < last && last < 1_000, "the stream ends with {last}");
    system.process(Service::Comment).resume().await?;
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);
    nothing_lost(&system, &post, &acknowledged).await
}

/// What a purge leaves: nothing but the number of the next message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_stream_is_refilled_by_an_operator() -> Result {
    let mut system = System::start().await?;
    let (post, mut acknowledged) = written(&system, 500).await?;
    let jetstream = jetstream(&system).await?;
    let stream = jetstream.get_stream(STREAM).await?;
    assert!(stream.purge().await.is_err(), "a stream can be purged");

    // Else it would make the stream before we do.
    system.process(Service::Comment).pause().await?;
    let config = stream.cached_info().config.clone();
    jetstream.delete_stream(STREAM).await?;
    let first_sequence = Some(501);
    jetstream.create_stream(stream::Config { first_sequence, ..config }).await?;
    let purged = state(&system).await?;
    assert_eq!((purged.messages, purged.last_sequence), (0, 500));
    system.process(Service::Comment).resume().await?;
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);

    let operator = system.client("olga", Role::Operator)?;
    let status = GetStreamStatusRequest { source: Source::Comment.into() };
    wait_until("the damage to be seen", || async {
        let answer = operator.streams.comment.clone().get_stream_status(status).await;
        answer.is_ok_and(|answer| answer.get_ref().finding.contains("is damaged"))
    })
    .await?;
    wait_until("the damage to be told", || is_damaged(&system, 1.0)).await?;
    let refill = RefillStreamRequest { source: Source::Comment.into() };
    wait_until("the stream to be refilled", || refilled(&operator, refill)).await?;
    wait_until("no damage to be told", || is_damaged(&system, 0.0)).await?;
    nothing_lost(&system, &post, &acknowledged).await
}

/// Whether the metrics say this of the stream.
async fn is_damaged(system: &System, damaged: f64) -> bool {
    let exposed = Exposed::by(system, Service::Comment).await;
    exposed.get("agora_stream_damaged", &[("source", "comment")]) == Some(damaged)
}

/// Has a stream be filled again; says whether it was done.
async fn refilled(operator: &Client, request: RefillStreamRequest) -> bool {
    let mut streams = operator.streams.comment.clone();
    let Ok(answers) = streams.refill_stream(request).await else { return false };
    let mut answers = answers.into_inner();
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            ended => return ended.is_ok(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_is_gone_on_with_when_there_is_room() -> Result {
    let system = System::start().await?;
    let (post, mut acknowledged) = written(&system, 200).await?;
    let jetstream = jetstream(&system).await?;
    let stream = jetstream.get_stream(STREAM).await?;
    let config = stream.cached_info().config.clone();
    // There is room for one more message, or two.
    let max_bytes = i64::try_from(stream.cached_info().state.bytes)? + 1_000;
    jetstream.update_stream(stream::Config { max_bytes, ..config.clone() }).await?;

    acknowledged.extend(Writers::start(&system, &post, 300)?.finish().await?);
    wait_until("it to be told", || async {
        let metrics = system.metrics(Service::Comment).await.unwrap_or_default();
        let health = system.health(Service::Comment).await.unwrap_or_default();
        let lag = metrics.lines().find_map(|line| {
            line.strip_prefix("agora_relay_lag_events{source=\"comment\"} ")?.parse().ok()
        });
        lag.is_some_and(|lag: u64| lag > 250) && health.contains("maximum bytes exceeded")
    })
    .await?;
    let full = state(&system).await?;
    assert!((200..250).contains(&full.messages), "the stream has {} messages", full.messages);

    jetstream.update_stream(config).await?;
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);
    nothing_lost(&system, &post, &acknowledged).await
}

/// Two of three servers are away: none of the streams has a leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_leader_is_gone_on_with_when_it_has_one() -> Result {
    let setup = Setup { nats_servers: 3, ..Setup::new(Databases::Files) };
    let mut system = System::start_with(setup).await?;
    let (post, mut acknowledged) = written(&system, 200).await?;
    for node in [1, 2] {
        system.nats.node(node).kill().await?;
    }
    wait_until("the stream to have no leader", || async { !has_leader(&system).await }).await?;
    acknowledged.extend(Writers::start(&system, &post, 300)?.finish().await?);
    all_reads_go_on(&system, &post).await?;
    for node in [1, 2] {
        system.nats.node(node).restart().await?;
    }
    nothing_lost(&system, &post, &acknowledged).await
}

/// On PostgreSQL: `postgres.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_of_a_file_is_completed_before_the_next_write() -> Result {
    let mut system = System::start().await?;
    let (post, mut acknowledged) = written(&system, 500).await?;
    let services = [Service::Comment, Service::Moderation, Service::Post];
    for service in services {
        back_up(&system.database(service), &backup(&system, service)).await?;
    }
    create_post(&mut system.client("ada", Role::Author)?, "after the backup").await?;
    acknowledged.extend(Writers::start(&system, &post, 500)?.finish().await?);
    quiet(&system).await?;
    for service in services {
        system.process(service).kill().await?;
        remove(&system, service);
        fs::copy(backup(&system, service), system.database(service))?;
        system.process(service).restart()?;
        system.ready(service).await?;
    }
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);
    nothing_lost(&system, &post, &acknowledged).await
}

fn backup(system: &System, service: Service) -> PathBuf {
    system.database(service).with_extension("backup")
}

async fn back_up(database: &Path, to: &Path) -> Result {
    let mut connection = SqliteConnectOptions::new().filename(database).connect().await?;
    let copy = format!("VACUUM INTO '{}'", to.display());
    sqlx::query(AssertSqlSafe(copy)).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Threads are read from the view, and moderators see their queue.
async fn all_reads_go_on(system: &System, post: &str) -> Result {
    let request = GetThreadRequest {
        site: SITE.into(),
        post: Some(Post::PostId(post.into())),
        ..Default::default()
    };
    let thread = system.anonymous()?.query.get_thread(request).await?.into_inner();
    assert_eq!(thread.served_from(), ServedFrom::View);
    assert!(!thread.comments.is_empty());
    let request = ListCasesRequest { site: SITE.into(), ..Default::default() };
    system.client("mia", Role::Moderator)?.moderation.list_cases(request).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_post_service_is_down_and_the_others_go_on() -> Result {
    let mut system = System::start().await?;
    let (post, mut acknowledged) = written(&system, 200).await?;
    system.process(Service::Post).kill().await?;
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);
    all_reads_go_on(&system, &post).await?;
    system.process(Service::Post).restart()?;
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_comment_service_is_down_and_the_others_go_on() -> Result {
    let mut system = System::start().await?;
    let (post, mut acknowledged) = written(&system, 200).await?;
    system.process(Service::Comment).kill().await?;
    let new = create_post(&mut system.client("ada", Role::Author)?, "meanwhile").await?;
    let client = system.anonymous()?;
    let request =
        GetThreadRequest { site: SITE.into(), post: Some(Post::PostId(new)), ..Default::default() };
    wait_until("the new post to be read", || async {
        client.query.clone().get_thread(request.clone()).await.is_ok()
    })
    .await?;
    all_reads_go_on(&system, &post).await?;
    system.process(Service::Comment).restart()?;
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);
    nothing_lost(&system, &post, &acknowledged).await
}
