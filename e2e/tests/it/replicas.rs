//! Several replicas of each service share a database, and one of them leads.

use std::time::Duration;

use e2e::{Databases, Result, Role, Service, System};
use tokio::time::{Instant, sleep};

use crate::{
    check::nothing_lost,
    write::{Writers, create_post},
};

const REPLICAS: usize = 3;
const COMMENTS: u64 = 3_000;
/// How soon another replica leads.
const TAKEN_OVER: Duration = Duration::from_secs(5);
/// Those that have a leader.
const OWNERS: [Service; 3] = [Service::Post, Service::Comment, Service::Moderation];

/// The replica that leads, once one other than `not` does; fails if that takes too long.
async fn leader(system: &System, service: Service, not: Option<usize>) -> Result<usize> {
    let since = Instant::now();
    loop {
        let leaders = system.leaders(service).await;
        if let Some(leader) = leaders.iter().find(|leader| Some(**leader) != not) {
            return Ok(*leader);
        }
        if since.elapsed() > TAKEN_OVER {
            return Err(format!("nobody leads {service:?} after {TAKEN_OVER:?}").into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_are_killed_in_turn() -> Result {
    let mut system = System::start_on(Databases::Postgres { replicas: REPLICAS }).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "elections").await?;
    let writers = Writers::start(&system, &post, COMMENTS)?;
    for (turn, service) in OWNERS.into_iter().enumerate() {
        writers.reach((turn + 1) * COMMENTS as usize / 5).await?;
        let old = leader(&system, service, None).await?;
        system.replica(service, old).kill().await?;
        leader(&system, service, Some(old)).await?;
        system.replica(service, old).restart()?;
    }
    let acknowledged = writers.finish().await?;
    for service in OWNERS {
        system.ready(service).await?;
        assert_eq!(system.leaders(service).await.len(), 1, "leaders of {service:?}");
    }
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_are_paused_in_turn() -> Result {
    let mut system = System::start_on(Databases::Postgres { replicas: REPLICAS }).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "pauses").await?;
    let writers = Writers::start(&system, &post, COMMENTS)?;
    for (turn, service) in OWNERS.into_iter().enumerate() {
        writers.reach((turn + 1) * COMMENTS as usize / 5).await?;
        let old = leader(&system, service, None).await?;
        system.replica(service, old).pause().await?;
        // It cannot say that it leads any more: another one must.
        leader(&system, service, Some(old)).await?;
        system.replica(service, old).resume().await?;
    }
    let acknowledged = writers.finish().await?;
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_shows_what_another_one_wrote() -> Result {
    use agora_proto::comment::v1::{CreateCommentRequest, GetCommentRequest};

    let system = System::start_on(Databases::Postgres { replicas: 2 }).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "positions").await?;
    let mut client = system.client("ada", Role::Author)?;
    for number in 0..50 {
        let request = CreateCommentRequest {
            site: crate::write::SITE.into(),
            post_id: post.clone(),
            body: format!("comment {number}"),
            ..Default::default()
        };
        let written = client.comment.create_comment(request).await?.into_inner();
        let comment_id = written.comment.unwrap().comment_id;
        // The calls are spread over both.
        for _ in 0..4 {
            let request = GetCommentRequest {
                site: crate::write::SITE.into(),
                comment_id: comment_id.clone(),
                position: written.position.clone(),
            };
            client.comment.get_comment(request).await?;
        }
    }
    Ok(())
}
