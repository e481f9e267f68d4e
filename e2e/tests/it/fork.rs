//! Journal and stream hold different events: an operator decides.

use std::fs;

use agora_proto::{
    admin::v1::{
        ListDeadLettersRequest, RestoreDatabaseRequest, RestoreDatabaseResponse,
        RetryDeadLetterRequest,
    },
    comment::v1::CreateCommentRequest,
};
use e2e::{Client, Databases, Result, Role, Service, System, wait_until};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    check::{nothing_lost, quiet},
    rewind::{back_up, restore},
    write::{SITE, Writers, create_post},
};

const SOURCE: i32 = agora_proto::event::v1::Source::Comment as i32;

async fn make_again(client: &Client, fork: bool) -> Result<RestoreDatabaseResponse, Status> {
    let request = RestoreDatabaseRequest { source: SOURCE, fork };
    let mut answers = client.streams.comment.clone().restore_database(request).await?.into_inner();
    let mut last = RestoreDatabaseResponse::default();
    while let Some(answer) = answers.message().await? {
        last = answer;
    }
    Ok(last)
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

async fn a_fork_is_healed(databases: Databases) -> Result {
    let mut system = System::start_on(databases).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "fork").await?;
    let mut all = Writers::start(&system, &post, 300)?.finish().await?;
    quiet(&system).await?;
    back_up(&mut system, Service::Comment).await?;
    // One history goes on in the stream,
    all.extend(Writers::start(&system, &post, 100)?.finish().await?);
    quiet(&system).await?;
    for service in [Service::Comment, Service::Moderation, Service::Query] {
        system.process(service).kill().await?;
    }
    system.nats.kill().await?;
    let (store, away) = (system.folder().join("nats"), system.folder().join("nats-away"));
    fs::rename(&store, &away)?;
    // and another one, which nobody else has heard of, in the database.
    restore(&system, Service::Comment).await?;
    system.nats.restart().await?;
    system.process(Service::Comment).restart()?;
    system.ready(Service::Comment).await?;
    all.extend(Writers::start(&system, &post, 50)?.finish().await?);
    system.process(Service::Comment).kill().await?;
    system.nats.kill().await?;
    fs::remove_dir_all(&store)?;
    fs::rename(&away, &store)?;
    system.nats.restart().await?;
    for service in [Service::Comment, Service::Moderation, Service::Query] {
        system.process(service).restart()?;
    }

    let operator = system.client("olga", Role::Operator)?;
    let author = system.client("ada", Role::Author)?;
    let request = CreateCommentRequest {
        site: SITE.into(),
        post_id: post.clone(),
        body: "no".into(),
        ..Default::default()
    };
    wait_until("writes to stop", || async {
        let refused = author.comment.clone().create_comment(request.clone()).await;
        refused.is_err_and(|status| reason(&status) == "WRITES_HALTED")
    })
    .await
    .map_err(|error| format!("{error}; {}", system.output()))?;
    let refused = make_again(&operator, false).await.unwrap_err();
    assert_eq!(reason(&refused), "FORKED", "{refused:?}");

    let made = make_again(&operator, true).await?;
    assert_eq!((made.kept, made.parked, made.journal_sequence), (300, 50, 400), "{made:?}");
    let refused = make_again(&operator, true).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_FORKED", "{refused:?}");
    for service in [Service::Comment, Service::Moderation, Service::Query] {
        system.ready(service).await?;
    }
    let mut letters = operator.letters.comment.clone();
    let request = ListDeadLettersRequest { service: "comment".into() };
    let mut answers = letters.list_dead_letters(request).await?.into_inner();
    let mut parked = Vec::new();
    while let Some(answer) = answers.message().await? {
        parked.extend(answer.dead_letters);
    }
    assert_eq!(parked.len(), 50);
    wait_until("writes to go on", || async {
        let letter = parked[0].clone();
        retry(&operator, letter.sequence).await.is_ok_and(|applied| applied == 1)
    })
    .await
    .map_err(|error| format!("{error}; {}", system.output()))?;
    for letter in &parked[1..] {
        assert_eq!(retry(&operator, letter.sequence).await?, 1);
    }
    all.extend(Writers::start(&system, &post, 50)?.finish().await?);
    nothing_lost(&system, &post, &all).await?;

    // Made again where nothing differs, it is the same.
    let made = make_again(&operator, false).await?;
    assert_eq!((made.kept, made.parked, made.journal_sequence), (500, 0, 500), "{made:?}");
    nothing_lost(&system, &post, &all).await
}

async fn retry(client: &Client, sequence: u64) -> Result<u32> {
    let request = RetryDeadLetterRequest { service: "comment".into(), source: SOURCE, sequence };
    Ok(client.letters.comment.clone().retry_dead_letter(request).await?.into_inner().applied)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_on_sqlite_is_healed_without_a_loss() -> Result {
    a_fork_is_healed(Databases::Files).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_on_postgres_is_healed_without_a_loss() -> Result {
    a_fork_is_healed(Databases::Postgres { replicas: 1 }).await
}
