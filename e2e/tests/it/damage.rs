//! A stream of the embedded NATS server is damaged on the disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use agora_proto::{
    admin::v1::{GetViewDigestRequest, GetViewDigestResponse},
    comment::v1::CreateCommentRequest,
    query::v1::ListFeedRequest,
};
use e2e::{Result, Role, Service, System, bench::up::Up, comments, wait_until};

use crate::{
    check::quiet,
    write::{SITE, Writers, create_post},
};

const COMMENTS: usize = 3_000;

/// Writes comments on a post, and returns the position after the last one.
async fn write(up: &Up) -> Result<String> {
    let mut client = up.client("ada", Role::Author)?;
    let post = create_post(&mut client, "damage").await?;
    let texts = comments()?;
    let mut position = String::new();
    for number in 0..COMMENTS {
        let request = CreateCommentRequest {
            site: SITE.into(),
            post_id: post.clone(),
            body: texts[number % texts.len()].clone(),
            ..Default::default()
        };
        position = client.comment.create_comment(request).await?.into_inner().position;
    }
    Ok(position)
}

/// What the view holds, once it holds everything that was decided on these comments.
async fn digest(up: &Up, position: &str) -> Result<GetViewDigestResponse> {
    let mut operator = up.client("checker", Role::Operator)?;
    let position = format!("{position},moderation:{COMMENTS}");
    wait_until("the view to have everything", || {
        let mut query = operator.query.clone();
        let (site, position) = (SITE.into(), position.clone());
        let request = ListFeedRequest { site, position, ..Default::default() };
        async move { query.list_feed(request).await.is_ok() }
    })
    .await
    .map_err(|error| format!("{error}; it printed:\n{}", up.output()))?;
    Ok(operator.view.get_view_digest(GetViewDigestRequest {}).await?.into_inner())
}

/// The files below a folder that hold the messages of the comments' stream, the oldest
/// first.
fn blocks(folder: &Path) -> Result<Vec<PathBuf>> {
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
    let before = digest(&up, &position).await?;

    up.stop().await?;
    damage(&blocks(up.data())?[0])?;
    up.remove_view();
    up.start_again().await?;
    assert_eq!(digest(&up, &position).await?, before);
    let output = up.output();
    assert!(output.contains("the stream is made anew"), "it printed:\n{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_a_flipped_byte_is_refilled() -> Result {
    damaged(|block| {
        let mut bytes = fs::read(block)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        Ok(fs::write(block, bytes)?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_messages_are_gone_is_refilled() -> Result {
    damaged(|block| Ok(fs::write(block, [])?)).await
}

/// Where the NATS server is not this installation's alone, nothing is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_beside_a_damaged_stream() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "damage").await?;
    Writers::start(&system, &post, 1_000)?.finish().await?;
    quiet(&system).await?;

    system.nats.stop().await?;
    fs::write(&blocks(system.folder())?[0], [])?;
    system.nats.restart().await?;
    Writers::start(&system, &post, 200)?.finish().await?;
    // A start compares before the first write.
    system.process(Service::Comment).kill().await?;
    system.process(Service::Comment).restart()?;
    system.ready(Service::Comment).await?;
    Writers::start(&system, &post, 200)?.finish().await?;
    let output = system.process(Service::Comment).output();
    assert!(output.contains("nothing is published until it is refilled"), "it printed:\n{output}");
    Ok(())
}
