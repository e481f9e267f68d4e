//! `agora up` on a disk that is full.

use agora_proto::{
    comment::v1::{CreateCommentRequest, CreateCommentResponse},
    post::v1::CreatePostRequest,
    query::v1::{GetThreadRequest, get_thread_request},
};
use e2e::{Client, Process, Result, Role, SmallDisk, bench::up::Up, http_get, program, wait_until};
use tempfile::TempDir;
use uuid::Uuid;

const SITE: &str = "main";
/// Enough that the streams have files of several pages.
const BEFORE: usize = 60;
/// More than those files take without another page of the disk.
const COMMENTS: usize = 100;

/// What health says of the embedded NATS server.
async fn embedded_nats(up: &Up) -> Result<String> {
    let port = up.run("http")?.rsplit_once(':').ok_or("an address without a port")?.1.parse()?;
    let report = http_get(port, "/readyz").await.ok_or("it is not ready")?;
    let line = report.lines().find(|line| line.starts_with("embedded NATS: "));
    Ok(line.ok_or_else(|| format!("health does not tell of NATS: {report}"))?.to_owned())
}

async fn says(up: &Up, text: &str) -> Result {
    let said = wait_until(text, || async {
        embedded_nats(up).await.is_ok_and(|line| line.contains(text))
    });
    said.await.map_err(|error| format!("{error}; it printed:\n{}", up.output()).into())
}

async fn comment(client: &Client, post_id: &str, number: usize) -> Result<CreateCommentResponse> {
    let request = CreateCommentRequest {
        site: SITE.into(),
        post_id: post_id.into(),
        body: format!("comment number {number}"),
        request_id: Uuid::now_v7().to_string(),
        ..Default::default()
    };
    Ok(client.comment.clone().create_comment(request).await?.into_inner())
}

/// How many comments readers see.
async fn shown(client: &Client, post_id: &str) -> Result<usize> {
    let request = GetThreadRequest {
        site: SITE.into(),
        post: Some(get_thread_request::Post::PostId(post_id.into())),
        page_size: 500,
        ..Default::default()
    };
    Ok(client.query.clone().get_thread(request).await?.into_inner().comments.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_nats_goes_on_when_there_is_room_again() -> Result {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    // Its own, so that what is written is acknowledged and only the bus is without room.
    let Some(disk) = SmallDisk::mount(&data.join("nats"))? else {
        eprintln!("left out: this user may not mount a small file system");
        return Ok(());
    };
    let up = Up::start_in(&data).await?;
    says(&up, "ready: running").await?;
    let client = up.client("ann", Role::Author)?;
    let request = CreatePostRequest {
        site: SITE.into(),
        title: "Hello".into(),
        request_id: Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let post = client.post.clone().create_post(request).await?.into_inner().post;
    let post_id = post.ok_or("an answer without a post")?.post_id;
    for number in 0..BEFORE {
        comment(&client, &post_id, number).await?;
    }
    wait_until("the first comments", || async {
        shown(&client, &post_id).await.is_ok_and(|shown| shown == BEFORE)
    })
    .await?;

    disk.fill()?;
    for number in BEFORE..COMMENTS {
        comment(&client, &post_id, number).await?;
    }
    // It stays ready, and says which disk is full.
    let full = format!("the disk that holds {} is full: 0 bytes are free", disk_folder(&data));
    says(&up, "it cannot write").await?;
    says(&up, &full).await?;
    assert!(embedded_nats(&up).await?.starts_with("embedded NATS: ready: "));
    assert!(shown(&client, &post_id).await? < COMMENTS, "the disk was not full");

    disk.make_room()?;
    wait_until("all comments", || async {
        shown(&client, &post_id).await.is_ok_and(|shown| shown == COMMENTS)
    })
    .await
    .map_err(|error| format!("{error}; it printed:\n{}", up.output()))?;
    says(&up, "ready: running").await
}

fn disk_folder(data: &std::path::Path) -> String {
    data.join("nats").display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_full_disk_names_the_disk() -> Result {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let Some(disk) = SmallDisk::mount(&data)? else {
        eprintln!("left out: this user may not mount a small file system");
        return Ok(());
    };
    disk.fill()?;
    let name = data.to_str().ok_or("the test's folder is not UTF-8")?;
    let any = "127.0.0.1:0";
    let arguments =
        ["up", "--data", name, "--listen", any, "--http-listen", any, "--nats-port", "0"];
    let log = folder.path().join("up.log");
    let mut process = Process::start(&program("agora")?, &arguments, &[], &log)?;
    let told = format!("error: the disk that holds {name} is full: 0 bytes are free");
    let ended = wait_until("the end", || {
        let ended = process.has_ended();
        async move { ended }
    });
    ended.await?;
    assert!(process.output().contains(&told), "{}", process.output());
    drop(process);

    // With room it starts, and nothing of the first try is in its way.
    disk.make_room()?;
    let up = Up::start_in(&data).await?;
    says(&up, "ready: running").await
}
