use std::fs;

use agora_proto::comment::v1::{Comment, CreateCommentRequest, Decision};
use bus_schema::{Sequence, Source};
use chassis::{
    auth::Role,
    testing::{Refusal, eventually},
};
use tonic::Code;

use super::fixture::{
    Fixture, HELD, all_pages, create, created, current, delete, own, reply, unknown, update,
};

/// Writes comments of every kind on a post that is closed then, and returns the post's
/// id and a request that can be retried.
async fn write(fixture: &Fixture) -> (String, CreateCommentRequest) {
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let first = created(&mut ada, create(&post_id, "first")).await;
    let second = created(&mut ada, reply(&first, "second")).await;
    let third = created(&mut ada, reply(&second, "third")).await;
    ada.update_comment(update(&second.comment_id, HELD)).await.unwrap();
    ada.delete_comment(delete(&third.comment_id)).await.unwrap();
    let request = CreateCommentRequest { request_id: unknown(), ..create(&post_id, "last") };
    let last = created(&mut ada, request.clone()).await;
    // Judged in their order: the last one means that all are.
    fixture.decided(&last.comment_id, Decision::Approved).await;
    fixture.heard(&fixture.close(&post_id).await).await;
    fixture.nats.holds(Source::Comment, Sequence(6)).await;
    (post_id, request)
}

/// What somebody without a token, the author and a moderator see.
async fn views(fixture: &Fixture, post_id: &str) -> [Vec<Comment>; 3] {
    [
        all_pages(&mut fixture.anonymous(), post_id, 2).await,
        all_pages(&mut fixture.client("ada", Role::Author), post_id, 2).await,
        all_pages(&mut fixture.client("mia", Role::Moderator), post_id, 2).await,
    ]
}

#[tokio::test]
async fn a_restart_keeps_all() {
    let mut fixture = Fixture::start().await;
    let (post_id, request) = write(&fixture).await;
    let before = views(&fixture, &post_id).await;
    let mut ada = fixture.client("ada", Role::Author);
    let answer = ada.create_comment(request.clone()).await.unwrap().into_inner();

    fixture.stop().await;
    fixture.start_again().await;
    assert_eq!(views(&fixture, &post_id).await, before);
    let mut ada = fixture.client("ada", Role::Author);
    let again = ada.create_comment(request).await.unwrap().into_inner();
    assert_eq!(
        (again.comment, own(&again.position)),
        (answer.comment.clone(), own(&answer.position))
    );
    let refusal = Refusal::of(ada.create_comment(create(&post_id, "x")).await);
    assert_eq!(refusal.what(), (Code::FailedPrecondition, "POST_CLOSED"));
}

#[tokio::test]
async fn a_lost_database_is_made_again_from_the_streams() {
    let mut fixture = Fixture::start().await;
    let (post_id, request) = write(&fixture).await;
    let before = views(&fixture, &post_id).await;
    let answer = fixture.client("ada", Role::Author).create_comment(request.clone()).await;
    let answer = answer.unwrap().into_inner();

    fixture.stop().await;
    for suffix in ["", "-wal", "-shm"] {
        let mut file = fixture.config.database.path.clone().into_os_string();
        file.push(suffix);
        fs::remove_file(file).ok();
    }
    fixture.start_again().await;
    let mut ada = fixture.client("ada", Role::Author);
    // A write waits until the stream's events are back, and the retry is known as one.
    let again = ada.create_comment(request).await.unwrap().into_inner();
    assert_eq!(
        (again.comment, own(&again.position)),
        (answer.comment.clone(), own(&answer.position))
    );
    eventually("what others said", async || {
        let mut ada = ada.clone();
        let refused = ada.create_comment(create(&post_id, "x")).await.err()?;
        (refused.code() == Code::FailedPrecondition).then_some(())
    })
    .await;
    let last = answer.comment.unwrap().comment_id;
    fixture.decided(&last, Decision::Approved).await;
    assert_eq!(views(&fixture, &post_id).await, before);
}

#[tokio::test]
async fn without_nats_writes_go_on_and_the_stream_catches_up() {
    let mut fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    created(&mut ada, create(&post_id, "before")).await;
    fixture.nats.kill().await;
    let mut last = String::new();
    for number in 0..20 {
        last = created(&mut ada, create(&post_id, &format!("number {number}"))).await.comment_id;
    }
    assert_eq!(current(&mut ada, &last).await.body, "number 19");
    fixture.nats.restart().await;
    fixture.nats.holds(Source::Comment, Sequence(21)).await;
    fixture.decided(&last, Decision::Approved).await;
    assert_eq!(all_pages(&mut fixture.anonymous(), &post_id, 50).await.len(), 21);
}
