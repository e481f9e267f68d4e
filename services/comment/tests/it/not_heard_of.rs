//! A post that the comment service was not told of yet: it asks the post service once.
//! While NATS is away it is told nothing, however long a test takes.

use agora_proto::comment::v1::CreateCommentRequest;
use bus_schema::{Sequence, Source};
use chassis::{
    auth::Role,
    testing::{Refusal, eventually},
};
use eventstore::Position;
use tokio::net::TcpListener;
use tonic::Code;

use super::fixture::{Fixture, SITE, bodies, create, created, reply, unknown};

/// A fixture that has compared its journals with their streams, and has lost NATS since.
async fn without_nats() -> Fixture {
    let mut fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    created(&mut fixture.client("ada", Role::Author), create(&post_id, "before")).await;
    fixture.nats.kill().await;
    fixture
}

#[tokio::test]
async fn a_post_not_heard_of_is_asked_for() {
    let fixture = without_nats().await;
    let (post_id, position) = fixture.post_on(SITE).await;
    let mut ada = fixture.client("ada", Role::Author);
    let request_id = unknown();
    let request = CreateCommentRequest { request_id, ..create(&post_id, "first") };
    let answer = ada.create_comment(request.clone()).await.unwrap().into_inner();
    // It includes what the post service answered from.
    let (included, asked): (Position, Position) =
        (answer.position.parse().unwrap(), position.parse().unwrap());
    assert_eq!(included.get(Source::Comment), Sequence(2));
    assert_eq!(included.get(Source::Post), asked.get(Source::Post));
    let comment = answer.comment.unwrap();
    assert_eq!(bodies(&mut ada, &post_id).await, ["first"]);
    created(&mut ada, reply(&comment, "second")).await;

    // The retry is known as one before anybody is asked.
    let again = ada.create_comment(request).await.unwrap().into_inner();
    assert_eq!(again.comment, Some(comment));
    assert_eq!(bodies(&mut ada, &post_id).await, ["first", "second"]);
}

#[tokio::test]
async fn the_post_service_says_whether_a_post_takes_comments() {
    let fixture = without_nats().await;
    let mut ada = fixture.client("ada", Role::Author);
    let (closed, _) = fixture.post_on(SITE).await;
    fixture.close(&closed).await;
    let (deleted, _) = fixture.post_on(SITE).await;
    fixture.delete_post(&deleted).await;
    let (reopened, _) = fixture.post_on(SITE).await;
    fixture.close(&reopened).await;
    fixture.reopen(&reopened).await;
    let (elsewhere, _) = fixture.post_on("news").await;
    let table = [
        (closed, (Code::FailedPrecondition, "POST_CLOSED")),
        (deleted, (Code::FailedPrecondition, "POST_DELETED")),
        (elsewhere, (Code::NotFound, "POST_NOT_FOUND")),
        (unknown(), (Code::NotFound, "POST_NOT_FOUND")),
    ];
    for (post_id, expected) in table {
        let refusal = Refusal::of(ada.create_comment(create(&post_id, "x")).await);
        assert_eq!(refusal.what(), expected);
    }
    created(&mut ada, create(&reopened, "x")).await;
}

#[tokio::test]
async fn what_was_heard_counts_until_more_is_heard() {
    let mut fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    created(&mut ada, create(&post_id, "before")).await;
    fixture.nats.kill().await;
    let closed = fixture.close(&post_id).await;
    // It was heard of, so nobody is asked.
    created(&mut ada, create(&post_id, "meanwhile")).await;
    let waits = CreateCommentRequest { position: closed.clone(), ..create(&post_id, "x") };
    let refusal = Refusal::of(ada.create_comment(waits.clone()).await);
    assert_eq!(refusal.what(), (Code::DeadlineExceeded, "POSITION_NOT_REACHED"));

    fixture.nats.restart().await;
    fixture.heard(&closed).await;
    for request in [waits, create(&post_id, "x")] {
        let refusal = Refusal::of(ada.create_comment(request).await);
        assert_eq!(refusal.what(), (Code::FailedPrecondition, "POST_CLOSED"));
    }
    fixture.heard(&fixture.reopen(&post_id).await).await;
    created(&mut ada, create(&post_id, "after")).await;
    fixture.heard(&fixture.delete_post(&post_id).await).await;
    let refusal = Refusal::of(ada.create_comment(create(&post_id, "x")).await);
    assert_eq!(refusal.what(), (Code::FailedPrecondition, "POST_DELETED"));
    assert_eq!(bodies(&mut ada, &post_id).await, ["before", "meanwhile", "after"]);
}

#[tokio::test]
async fn without_the_post_service_only_posts_heard_of_take_comments() {
    let mut fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    fixture.stop_post_service().await;
    let mut ada = fixture.client("ada", Role::Author);
    created(&mut ada, create(&post_id, "on a post heard of")).await;
    let refusal = Refusal::of(ada.create_comment(create(&unknown(), "x")).await);
    assert_eq!(refusal.what(), (Code::Unavailable, "POST_SERVICE_UNAVAILABLE"));
    assert!(refusal.is_retryable);
}

#[tokio::test]
async fn a_post_service_that_says_nothing_is_not_waited_for() {
    let mut fixture = Fixture::start().await;
    fixture.stop().await;
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    fixture.config.post_service.url = format!("http://{}", silent.local_addr().unwrap());
    fixture.config.post_service.timeout_ms = 100;
    fixture.start_again().await;
    let mut ada = fixture.client("ada", Role::Author);
    let refusal = eventually("the journal's comparison", async || {
        let refusal = Refusal::of(ada.create_comment(create(&unknown(), "x")).await);
        (refusal.reason != "JOURNAL_NOT_COMPARED").then_some(refusal)
    })
    .await;
    assert_eq!(refusal.what(), (Code::Unavailable, "POST_SERVICE_UNAVAILABLE"));
}
