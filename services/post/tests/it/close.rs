use agora_proto::post::v1::PostState;
use chassis::{auth::Role, testing::Refusal};
use tonic::Code;
use uuid::Uuid;

use super::fixture::{Fixture, all_pages, close, created, current, reopen};

#[tokio::test]
async fn a_post_is_closed_and_opened_again() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let post = created(&mut ada, "a title").await;
    let id = &post.post_id;
    let refusal = Refusal::of(ada.reopen_post(reopen(id)).await);
    assert_eq!(refusal.what(), (Code::FailedPrecondition, "POST_NOT_CLOSED"));

    let answer = ada.close_post(close(id)).await.unwrap().into_inner();
    let closed = answer.post.unwrap();
    assert_eq!((closed.state(), answer.position.as_str()), (PostState::Closed, "post:2"));
    assert_eq!((&closed.title, &closed.body, closed.revision), (&post.title, &post.body, 1));
    assert_eq!(current(&mut ada, id).await, closed);
    assert_eq!(all_pages(&mut ada, 10).await, [closed]);
    let refusal = Refusal::of(ada.close_post(close(id)).await);
    assert_eq!(refusal.what(), (Code::FailedPrecondition, "POST_ALREADY_CLOSED"));

    let answer = ada.reopen_post(reopen(id)).await.unwrap().into_inner();
    let reopened = answer.post.unwrap();
    assert_eq!((reopened.state(), answer.position.as_str()), (PostState::Open, "post:3"));
    assert_eq!((&reopened.title, &reopened.body, reopened.revision), (&post.title, &post.body, 1));
    assert_eq!(current(&mut ada, id).await, reopened);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let unknown = Uuid::now_v7().to_string();
    let refusals = [
        Refusal::of(ada.close_post(close(&unknown)).await),
        Refusal::of(ada.reopen_post(reopen(&unknown)).await),
    ];
    for refusal in refusals {
        assert_eq!(refusal.what(), (Code::NotFound, "POST_NOT_FOUND"));
    }
    let refusals = [
        Refusal::of(ada.close_post(close("no id")).await),
        Refusal::of(ada.reopen_post(reopen("no id")).await),
    ];
    for refusal in refusals {
        assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_FIELDS"));
        assert_eq!(refusal.fields, ["post_id"]);
    }
}
