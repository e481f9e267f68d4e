//! The view is made anew beside the one that is served, and nobody notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agora_proto::{
    admin::v1::{
        GetViewDigestRequest, RebuildPhase, RebuildViewRequest, RebuildViewResponse, TableDigest,
    },
    query::v1::{GetThreadRequest, get_thread_request::Post},
};
use bus_schema::Source;
use e2e::{Client, Result, Role, Service, System};
use eventstore::{Position, database};
use sqlx::ConnectOptions as _;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    check::{nothing_lost, quiet},
    metrics::Exposed,
    write::{SITE, Writers, create_post},
};

const REBUILD: RebuildViewRequest = RebuildViewRequest { undo: false, accept_differences: false };
const UNDO: RebuildViewRequest = RebuildViewRequest { undo: true, accept_differences: false };

/// Everything that a rebuild says.
async fn rebuild(
    client: &Client,
    request: RebuildViewRequest,
) -> Result<Vec<RebuildViewResponse>, Status> {
    let mut answers = client.view.clone().rebuild_view(request).await?.into_inner();
    let mut said = Vec::new();
    while let Some(answer) = answers.message().await? {
        said.push(answer);
    }
    Ok(said)
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

fn is_switched(said: &[RebuildViewResponse]) -> bool {
    said.last().is_some_and(|last| last.phase() == RebuildPhase::Switched)
}

async fn tables(client: &Client) -> Result<Vec<TableDigest>> {
    let answer = client.view.clone().get_view_digest(GetViewDigestRequest {}).await?;
    Ok(answer.into_inner().tables)
}

/// Reads a thread until it is told to stop: no read may fail or go back. Returns how many it
/// has made.
fn reader(client: Client, post: &str, stop: &Arc<AtomicBool>) -> JoinHandle<Result<u64>> {
    let (post, stop) = (post.to_owned(), stop.clone());
    tokio::spawn(async move {
        let (mut seen, mut count) = (Position::ZERO, 0);
        while !stop.load(Ordering::Relaxed) {
            let request = GetThreadRequest {
                site: SITE.into(),
                post: Some(Post::PostId(post.clone())),
                page_size: 5,
                ..Default::default()
            };
            let answer = client.query.clone().get_thread(request).await?.into_inner();
            let position: Position = answer.position.parse()?;
            if !position.includes(&seen, &Source::ALL) {
                return Err(format!("after {seen} a reader saw {position}").into());
            }
            (seen, count) = (position, count + 1);
        }
        Ok(count)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_notice_nothing_of_a_rebuild() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "rebuild").await?;
    let mut acknowledged = Writers::start(&system, &post, 4_000)?.finish().await?;
    let operator = system.client("olga", Role::Operator)?;
    assert_eq!(reason(&rebuild(&operator, UNDO).await.unwrap_err()), "NO_OLD_VIEW");

    let stop = Arc::new(AtomicBool::new(false));
    let reader = reader(system.anonymous()?, &post, &stop);
    let writers = Writers::start(&system, &post, 4_000)?;
    writers.reach(100).await?;
    for (request, origin) in [(REBUILD, "rebuild"), (UNDO, "undo"), (REBUILD, "rebuild")] {
        let said = rebuild(&operator, request).await?;
        assert!(is_switched(&said), "{said:?}");
        let exposed = Exposed::by(&system, Service::Query).await;
        assert_eq!(exposed.get("agora_view_origin", &[("origin", origin)]), Some(1.0));
        assert_eq!(exposed.get("agora_view_origin", &[("origin", "streams")]), Some(0.0));
        assert_eq!(exposed.get("agora_rebuild_running", &[]), Some(0.0));
    }
    acknowledged.extend(writers.finish().await?);
    stop.store(true, Ordering::Relaxed);
    assert!(reader.await?? > 100, "the reader hardly read");

    // The one that is served now is served after a restart, too.
    assert!(system.database(Service::Query).with_extension("2.db").exists());
    quiet(&system).await?;
    let before = tables(&operator).await?;
    system.process(Service::Query).kill().await?;
    system.process(Service::Query).restart()?;
    system.ready(Service::Query).await?;
    quiet(&system).await?;
    assert_eq!(tables(&operator).await?, before);
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_interrupted_goes_on() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "interrupted").await?;
    let acknowledged = Writers::start(&system, &post, 10_000)?.finish().await?;
    quiet(&system).await?;
    let operator = system.client("olga", Role::Operator)?;
    let before = tables(&operator).await?;

    // Whoever asked for it leaves.
    let mut answers = operator.view.clone().rebuild_view(REBUILD).await?.into_inner();
    let first = answers.message().await?.ok_or("it said nothing")?;
    assert_ne!(first.phase(), RebuildPhase::Switched);
    drop(answers);
    // The process is killed, once another one has begun.
    let (started, mut has_started) = mpsc::channel(1);
    let asking = tokio::spawn(async move {
        while !started.is_closed() {
            let mut answers = operator.view.clone().rebuild_view(REBUILD).await?.into_inner();
            // At first what was interrupted is still being put away.
            while let Ok(Some(answer)) = answers.message().await {
                started.send(answer.phase()).await.ok();
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok::<(), Status>(())
    });
    let phase = has_started.recv().await.ok_or("no rebuild has begun")?;
    assert_ne!(phase, RebuildPhase::Switched);
    asking.abort();
    system.process(Service::Query).kill().await?;
    system.process(Service::Query).restart()?;
    system.ready(Service::Query).await?;

    let operator = system.client("olga", Role::Operator)?;
    let said = rebuild(&operator, REBUILD).await?;
    assert!(is_switched(&said), "{said:?}");
    assert_eq!(tables(&operator).await?, before);
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_differs_is_served_only_if_that_is_accepted() -> Result {
    let system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "differs").await?;
    Writers::start(&system, &post, 100)?.finish().await?;
    quiet(&system).await?;
    let operator = system.client("olga", Role::Operator)?;
    let right = tables(&operator).await?;

    let options = database::options(&system.database(Service::Query));
    let mut view = options.connect().await?;
    sqlx::query("UPDATE comment SET author_name = 'nobody'").execute(&mut view).await?;
    let wrong = tables(&operator).await?;
    assert_ne!(wrong, right);

    let refused = rebuild(&operator, REBUILD).await.unwrap_err();
    assert_eq!(reason(&refused), "VIEW_DIFFERS");
    let text = refused.message();
    assert!(text.contains("comment (100 rows, 100 in the new view)"), "{text}");
    assert_eq!(tables(&operator).await?, wrong);

    let accept = RebuildViewRequest { accept_differences: true, ..REBUILD };
    assert!(is_switched(&rebuild(&operator, accept).await?));
    assert_eq!(tables(&operator).await?, right);
    Ok(())
}
