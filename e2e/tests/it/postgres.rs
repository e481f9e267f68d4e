//! What becomes of everything when PostgreSQL fails, or loses what it held.

use std::time::Duration;

use e2e::{Databases, Result, Role, Service, System};
use tokio::time::sleep;

use crate::{
    check::{nothing_lost, quiet},
    write::{Writers, create_post},
};

const COMMENTS: u64 = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed_under_load() -> Result {
    let mut system = System::start_on(Databases::Postgres { replicas: 1 }).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "no database").await?;
    let writers = Writers::start(&system, &post, COMMENTS)?;
    for third in 1..=2 {
        writers.reach(third * COMMENTS as usize / 3).await?;
        let postgres = system.postgres.as_mut().unwrap();
        postgres.kill().await?;
        // The outage itself: nothing is waited for.
        sleep(Duration::from_secs(3)).await;
        postgres.restart().await?;
    }
    let acknowledged = writers.finish().await?;
    nothing_lost(&system, &post, &acknowledged).await
}

/// Every replica finds its connection lost with its first write, and none says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_write_after_an_outage_is_answered() -> Result {
    let mut system = System::start_on(Databases::Postgres { replicas: 2 }).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "first").await?;
    let clients = system.each(Service::Post, "ada", Role::Author)?;
    for client in &clients {
        create_post(&mut client.clone(), "before").await?;
    }
    quiet(&system).await?;
    let postgres = system.postgres.as_mut().unwrap();
    postgres.kill().await?;
    postgres.restart().await?;
    for client in &clients {
        let request = agora_proto::post::v1::CreatePostRequest {
            site: crate::write::SITE.into(),
            title: "after".into(),
            ..Default::default()
        };
        client.post.clone().create_post(request).await?;
    }
    nothing_lost(&system, &post, &Default::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_writes_are_refused_and_the_view_is_read() -> Result {
    use agora_proto::{
        comment::v1::CreateCommentRequest,
        query::v1::{GetThreadRequest, get_thread_request::Post},
    };
    use tonic_types::StatusExt as _;

    let mut system = System::start_on(Databases::Postgres { replicas: 1 }).await?;
    let mut client = system.client("ada", Role::Author)?;
    let post = create_post(&mut client, "refused").await?;
    quiet(&system).await?;
    system.postgres.as_mut().unwrap().kill().await?;

    let request = CreateCommentRequest {
        site: crate::write::SITE.into(),
        post_id: post.clone(),
        body: "hello".into(),
        ..Default::default()
    };
    let refused = client.comment.create_comment(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "DATABASE_UNAVAILABLE");
    assert!(details.retry_info().unwrap().retry_delay.is_some());
    let thread = GetThreadRequest {
        site: crate::write::SITE.into(),
        post: Some(Post::PostId(post)),
        ..Default::default()
    };
    client.query.get_thread(thread).await?;

    system.postgres.as_mut().unwrap().restart().await?;
    e2e::wait_until("writes to go on", || async {
        client.comment.clone().create_comment(request.clone()).await.is_ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_imported_from_the_stream() -> Result {
    let mut system = System::start_on(Databases::Postgres { replicas: 1 }).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "import").await?;
    let acknowledged = Writers::start(&system, &post, COMMENTS)?.finish().await?;
    quiet(&system).await?;
    for service in [Service::Comment, Service::Moderation, Service::Post] {
        system.process(service).kill().await?;
        let postgres = system.postgres.as_ref().unwrap();
        postgres.make(service.as_str()).await?;
        system.process(service).restart()?;
        system.ready(service).await?;
    }
    let more = Writers::start(&system, &post, 200)?.finish().await?;
    let all = acknowledged.into_iter().chain(more).collect();
    nothing_lost(&system, &post, &all).await
}

/// The services run all the time, and must notice it by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_completed_before_the_next_write() -> Result {
    let mut system = System::start_on(Databases::Postgres { replicas: 2 }).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "backup").await?;
    let acknowledged = Writers::start(&system, &post, COMMENTS / 2)?.finish().await?;
    quiet(&system).await?;
    let backup = system.folder().join("backup");
    let postgres = system.postgres.as_mut().unwrap();
    postgres.kill().await?;
    postgres.back_up(&backup)?;
    postgres.restart().await?;

    let more = Writers::start(&system, &post, COMMENTS / 2)?.finish().await?;
    quiet(&system).await?;
    let postgres = system.postgres.as_mut().unwrap();
    postgres.kill().await?;
    postgres.restore(&backup)?;
    postgres.restart().await?;

    let last = Writers::start(&system, &post, 200)?.finish().await?;
    let all = acknowledged.into_iter().chain(more).chain(last).collect();
    nothing_lost(&system, &post, &all).await
}
