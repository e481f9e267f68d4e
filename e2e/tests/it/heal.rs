//! What is lost is made again from what remains.

use agora_proto::admin::v1::{GetViewDigestRequest, GetViewDigestResponse};
use e2e::{Result, Role, Service, System, wait_until};

use crate::{
    check::{nothing_lost, quiet},
    write::{Writers, create_post},
};

pub async fn digest(system: &System) -> Result<GetViewDigestResponse> {
    let mut client = system.client("checker", Role::Operator)?;
    Ok(client.view.get_view_digest(GetViewDigestRequest {}).await?.into_inner())
}

/// Removes a database that nobody has open.
pub fn remove(system: &System, service: Service) {
    for suffix in ["", "-wal", "-shm"] {
        let mut path = system.database(service).into_os_string();
        path.push(suffix);
        std::fs::remove_file(path).ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_is_gone_is_rebuilt_the_same() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "rebuild").await?;
    let acknowledged = Writers::start(&system, &post, 2_000)?.finish().await?;
    quiet(&system).await?;
    let before = digest(&system).await?;

    system.process(Service::Query).kill().await?;
    remove(&system, Service::Query);
    system.process(Service::Query).restart()?;
    system.ready(Service::Query).await?;
    quiet(&system).await?;
    assert_eq!(digest(&system).await?, before);
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_stream_is_refilled() -> Result {
    let system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "refill").await?;
    let acknowledged = Writers::start(&system, &post, 2_000)?.finish().await?;
    quiet(&system).await?;

    let jetstream = async_nats::jetstream::new(system.nats.connect().await?);
    for stream in ["AGORA_POST", "AGORA_COMMENT", "AGORA_MODERATION"] {
        jetstream.delete_stream(stream).await?;
    }
    wait_until("the streams to be made again", || {
        let jetstream = jetstream.clone();
        async move { jetstream.get_stream("AGORA_COMMENT").await.is_ok() }
    })
    .await?;
    // Writing goes on after it, and everything stays equal.
    let more = Writers::start(&system, &post, 200)?.finish().await?;
    let all = acknowledged.into_iter().chain(more).collect();
    nothing_lost(&system, &post, &all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_imported_from_the_stream() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "import").await?;
    let acknowledged = Writers::start(&system, &post, 2_000)?.finish().await?;
    quiet(&system).await?;

    for service in [Service::Comment, Service::Moderation, Service::Post] {
        system.process(service).kill().await?;
        remove(&system, service);
        system.process(service).restart()?;
        system.ready(service).await?;
    }
    let more = Writers::start(&system, &post, 200)?.finish().await?;
    let all = acknowledged.into_iter().chain(more).collect();
    nothing_lost(&system, &post, &all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_of_another_installation_is_refused() -> Result {
    let mut system = System::start().await?;
    create_post(&mut system.client("ada", Role::Author)?, "mine").await?;
    quiet(&system).await?;

    // A journal of its own, over streams that hold another one's events.
    let other = System::start().await?;
    create_post(&mut other.client("ada", Role::Author)?, "theirs").await?;
    quiet(&other).await?;
    system.process(Service::Post).kill().await?;
    remove(&system, Service::Post);
    std::fs::copy(other.database(Service::Post), system.database(Service::Post))?;
    let mut wal = other.database(Service::Post).into_os_string();
    wal.push("-wal");
    let mut to = system.database(Service::Post).into_os_string();
    to.push("-wal");
    std::fs::copy(wal, to)?;
    system.process(Service::Post).restart()?;
    let process = std::cell::RefCell::new(system.process(Service::Post));
    wait_until("the service to refuse", || async { process.borrow_mut().has_ended() }).await?;
    let output = process.borrow().output();
    assert!(output.contains("belongs to another installation"), "it printed: {output}");
    Ok(())
}
