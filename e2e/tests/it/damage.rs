//! A stream of the embedded NATS server is damaged on the disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use agora_proto::{
    admin::v1::{
        GetStreamStatusRequest, GetViewDigestRequest, GetViewDigestResponse, RefillStreamRequest,
        RefillStreamResponse, VerifyStreamRequest, VerifyStreamResponse,
    },
    comment::v1::CreateCommentRequest,
};
use bus_schema::Source;
use e2e::{Client, Result, Role, Service, System, bench::up::Up, comments, wait_until};
use eventstore::Position;
use futures::{StreamExt as _, stream};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    check::{nothing_lost, quiet},
    write::{SITE, Writers, create_post},
};

const COMMENTS: usize = 3_000;
/// How many of them are on their way at once.
const IN_FLIGHT: usize = 16;

/// Writes comments on a post, and returns the position after the last one.
async fn write(up: &Up) -> Result<Position> {
    let mut client = up.client("ada", Role::Author)?;
    let post = create_post(&mut client, "damage").await?;
    let texts = comments()?;
    let written = (0..COMMENTS).map(|number| {
        let request = CreateCommentRequest {
            site: SITE.into(),
            post_id: post.clone(),
            body: texts[number % texts.len()].clone(),
            ..Default::default()
        };
        let mut service = client.comment.clone();
        async move { service.create_comment(request).await }
    });
    let mut written = stream::iter(written).buffer_unordered(IN_FLIGHT);
    let mut last = Position::ZERO;
    while let Some(answer) = written.next().await {
        let position: Position = answer?.into_inner().position.parse()?;
        if position.get(Source::Comment) > last.get(Source::Comment) {
            last = position;
        }
    }
    Ok(last)
}

/// What the view holds, once it holds everything that was decided on these comments.
async fn digest(up: &Up, position: Position) -> Result<GetViewDigestResponse> {
    let mut operator = up.client("checker", Role::Operator)?;
    let position = format!("{position},moderation:{COMMENTS}");
    wait_until("the view to have everything", || {
        let (client, position) = (operator.clone(), position.clone());
        async move { client.view_includes(SITE, &position).await }
    })
    .await
    .map_err(|error| format!("{error}; it printed:\n{}", up.output()))?;
    Ok(operator.view.get_view_digest(GetViewDigestRequest {}).await?.into_inner())
}

/// The files below a folder that hold the messages of the comments' stream, the oldest
/// first.
pub fn blocks(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_owned()];
    let mut blocks = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "blk")
                && path.components().any(|part| part.as_os_str() == "AGORA_COMMENT")
            {
                blocks.push(path);
            }
        }
    }
    assert!(!blocks.is_empty(), "no file holds messages");
    blocks.sort();
    Ok(blocks)
}

/// Damages the stream while nothing runs, and has the view made anew from it.
async fn damaged(damage: impl FnOnce(&Path) -> Result) -> Result {
    let mut up = Up::start().await?;
    let position = write(&up).await?;
    let before = digest(&up, position).await?;

    up.stop().await?;
    damage(&blocks(up.data())?[0])?;
    up.remove_view();
    up.start_again().await?;
    assert_eq!(digest(&up, position).await?, before);
    let refilled = || async { up.output().contains("recreating the stream") };
    let refilled = wait_until("the stream to be refilled", refilled).await;
    Ok(refilled.map_err(|error| format!("{error}; it printed:\n{}", up.output()))?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_a_flipped_byte_is_refilled() -> Result {
    damaged(flip).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_messages_are_gone_is_refilled() -> Result {
    damaged(|block| Ok(fs::write(block, [])?)).await
}

const SOURCE: i32 = agora_proto::event::v1::Source::Comment as i32;

/// Has the comments' stream be filled again; returns what it was told.
async fn refill(operator: &mut Client) -> Result<Vec<RefillStreamResponse>, Status> {
    let request = RefillStreamRequest { source: SOURCE };
    let mut answers = operator.streams.comment.refill_stream(request).await?.into_inner();
    let mut said = Vec::new();
    while let Some(answer) = answers.message().await? {
        said.push(answer);
    }
    Ok(said)
}

/// What reading the whole stream finds.
async fn verify(operator: &mut Client) -> Result<VerifyStreamResponse, Status> {
    let request = VerifyStreamRequest { source: SOURCE };
    let mut answers = operator.streams.comment.verify_stream(request).await?.into_inner();
    let mut found = VerifyStreamResponse::default();
    while let Some(answer) = answers.message().await? {
        found = answer;
    }
    Ok(found)
}

/// Flips a byte in the middle of a file.
fn flip(block: &Path) -> Result {
    let mut bytes = fs::read(block)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    Ok(fs::write(block, bytes)?)
}

/// Who is told that a stream was refilled may lose the journal the moment after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refill_has_ended_when_the_stream_is_equal() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "damage").await?;
    let acknowledged = Writers::start(&system, &post, 1_000)?.finish().await?;
    quiet(&system).await?;
    let mut operator = system.client("olga", Role::Operator)?;
    system.nats.stop().await?;
    flip(&blocks(system.folder())?[0])?;
    system.nats.restart().await?;
    wait_until("the damage to be seen", || {
        let mut operator = operator.clone();
        async move { verify(&mut operator).await.is_ok_and(|found| found.damaged > 0) }
    })
    .await?;
    // By its own account the stream lacks nothing.
    let request = GetStreamStatusRequest { source: SOURCE };
    let status = operator.streams.comment.get_stream_status(request).await?.into_inner();
    assert_eq!((status.messages, status.finding.as_str()), (1_000, "equal at both ends"));

    refill(&mut operator).await?;
    let found = verify(&mut operator).await?;
    assert!(found.equal, "{found:?}");
    nothing_lost(&system, &post, &acknowledged).await
}

/// Where the NATS server is not this installation's alone, nothing is deleted unless an
/// operator says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_beside_a_damaged_stream_until_an_operator_has_it_refilled() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "damage").await?;
    let mut acknowledged = Writers::start(&system, &post, 1_000)?.finish().await?;
    quiet(&system).await?;
    let mut operator = system.client("olga", Role::Operator)?;
    let refused = refill(&mut operator).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "STREAM_HEALTHY");

    system.nats.stop().await?;
    fs::write(&blocks(system.folder())?[0], [])?;
    system.nats.restart().await?;
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);
    // A start compares before the first write.
    system.process(Service::Comment).kill().await?;
    system.process(Service::Comment).restart()?;
    system.ready(Service::Comment).await?;
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);
    // Whoever follows takes the events from the owner.
    quiet(&system).await?;
    let output = system.process(Service::Comment).output();
    assert!(output.contains("nothing is published until it is refilled"), "it printed:\n{output}");

    let request = GetStreamStatusRequest { source: SOURCE };
    let status = operator.streams.comment.get_stream_status(request).await?.into_inner();
    assert!(status.finding.contains("is damaged"), "{status:?}");
    assert_eq!(status.journal_sequence, 1_400);
    let found = verify(&mut operator).await?;
    assert!(!found.equal && found.damaged > 0, "{found:?}");

    let said = refill(&mut operator).await?;
    assert!(said.first().is_some_and(|first| first.proving), "{said:?}");
    assert!(said.last().is_some_and(|last| !last.proving && last.done == 1_400), "{said:?}");
    nothing_lost(&system, &post, &acknowledged).await
}
