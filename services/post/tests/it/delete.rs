use agora_proto::post::v1::{DeletePostRequest, PostState};
use chassis::{auth::Role, testing::Refusal};
use tonic::Code;

use super::fixture::{
    Fixture, all_pages, close, create_with_key, created, current, delete, find, reopen,
};

#[tokio::test]
async fn a_tombstone_is_left() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let post = created(&mut ada, "a title").await;
    let answer = ada.delete_post(delete(&post.post_id)).await.unwrap().into_inner();
    assert_eq!(answer.position, "post:2");
    let tombstone = answer.post.unwrap();
    assert_eq!(tombstone.state(), PostState::Deleted);
    assert_eq!((tombstone.title.as_str(), tombstone.body.as_str()), ("", ""));
    assert_eq!((tombstone.revision, &tombstone.author_id), (1, &post.author_id));
    assert_eq!(current(&mut ada, &post.post_id).await, tombstone);
    assert_eq!(all_pages(&mut ada, 10).await, []);
}

#[tokio::test]
async fn a_deleted_post_frees_its_key() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let first = ada.create_post(create_with_key("k")).await.unwrap().into_inner().post.unwrap();
    ada.delete_post(delete(&first.post_id)).await.unwrap();
    let refusal = Refusal::of(ada.get_post(find("k")).await);
    assert_eq!(refusal.what(), (Code::NotFound, "POST_NOT_FOUND"));
    let second = ada.create_post(create_with_key("k")).await.unwrap().into_inner().post;
    assert_eq!(ada.get_post(find("k")).await.unwrap().into_inner().post, second);
    assert_eq!(current(&mut ada, &first.post_id).await.external_key, "k");
}

#[tokio::test]
async fn a_deleted_post_stays_as_it_is() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let id = created(&mut ada, "a title").await.post_id;
    let stale = DeletePostRequest { revision: 2, ..delete(&id) };
    let refusal = Refusal::of(ada.delete_post(stale).await);
    assert_eq!(refusal.what(), (Code::Aborted, "STALE_REVISION"));
    ada.delete_post(DeletePostRequest { revision: 1, ..delete(&id) }).await.unwrap();
    let tombstone = current(&mut ada, &id).await;

    let refusals = [
        Refusal::of(ada.delete_post(delete(&id)).await),
        Refusal::of(ada.close_post(close(&id)).await),
        Refusal::of(ada.reopen_post(reopen(&id)).await),
    ];
    for refusal in refusals {
        assert_eq!(refusal.what(), (Code::FailedPrecondition, "POST_DELETED"));
    }
    assert_eq!(current(&mut ada, &id).await, tombstone);
}
