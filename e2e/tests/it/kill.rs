//! Any one process is killed while comments are written, and started again.

use std::time::Duration;

use e2e::{Result, Role, Service, System};

use crate::{
    check::nothing_lost,
    write::{Writers, create_post},
};

const COMMENTS: u64 = 10_000;

/// Writes comments, and kills a service three times on the way.
async fn killed_while_writing(service: Service) -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "kill -9").await?;
    let writers = Writers::start(&system, &post, COMMENTS)?;
    for quarter in 1..=3 {
        writers.reach(quarter * COMMENTS as usize / 4).await?;
        system.process(service).kill().await?;
        system.process(service).restart()?;
    }
    let acknowledged = writers.finish().await?;
    system.ready(service).await?;
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comment_service_is_killed() -> Result {
    killed_while_writing(Service::Comment).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moderation_service_is_killed() -> Result {
    killed_while_writing(Service::Moderation).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_service_is_killed() -> Result {
    killed_while_writing(Service::Query).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn post_service_is_killed() -> Result {
    killed_while_writing(Service::Post).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_killed_and_writes_go_on() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "no bus").await?;
    let writers = Writers::start(&system, &post, COMMENTS)?;
    writers.reach(COMMENTS as usize / 4).await?;
    system.nats.kill().await?;
    let down = tokio::time::Instant::now();
    // Writes go on without the bus: half of the comments are written while it is down.
    writers.reach(COMMENTS as usize * 3 / 4).await?;
    // The outage itself: nothing is waited for.
    tokio::time::sleep_until(down + Duration::from_secs(10)).await;
    system.nats.restart().await?;
    let acknowledged = writers.finish().await?;
    nothing_lost(&system, &post, &acknowledged).await
}
