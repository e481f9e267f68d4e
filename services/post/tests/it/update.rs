use agora_proto::post::v1::{PostState, UpdatePostRequest};
use chassis::{auth::Role, testing::Refusal};
use tonic::Code;
use uuid::Uuid;

use super::fixture::{Fixture, close, created, current, delete, mask, retitle};

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let table = [
        (None, ("t", "b"), ("t", "b")),
        (None, ("t", ""), ("t", "a body")),
        (None, ("", "b"), ("a title", "b")),
        (mask(&["title"]), ("t", "b"), ("t", "a body")),
        (mask(&["body"]), ("t", "b"), ("a title", "b")),
        (mask(&["body"]), ("t", ""), ("a title", "")),
        (mask(&["title", "body"]), ("t", ""), ("t", "")),
        (mask(&["*"]), ("t", ""), ("t", "")),
        // The same as before makes a revision all the same.
        (mask(&["title"]), ("a title", ""), ("a title", "a body")),
    ];
    for (update_mask, (title, body), expected) in table {
        let post = created(&mut ada, "a title").await;
        let body = body.into();
        let request = UpdatePostRequest { body, update_mask, ..retitle(&post.post_id, title) };
        let answer = ada.update_post(request.clone()).await.unwrap().into_inner();
        let updated = answer.post.unwrap();
        assert_eq!((updated.title.as_str(), updated.body.as_str()), expected, "{request:?}");
        assert_eq!((updated.revision, updated.create_time), (2, post.create_time));
        assert_ne!(updated.update_time, post.update_time);
        assert_eq!(current(&mut ada, &post.post_id).await, updated);
    }
}

#[tokio::test]
async fn a_wrong_mask_changes_nothing() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let post = created(&mut ada, "a title").await;
    let id = &post.post_id;
    let masked =
        |paths: &[&str]| UpdatePostRequest { update_mask: mask(paths), ..retitle(id, "new") };
    let table = [
        (vec!["update_mask"], masked(&[])),
        (vec!["update_mask"], masked(&[""])),
        (vec!["update_mask"], masked(&["author_id"])),
        (vec!["update_mask"], masked(&["title", "revision"])),
        (vec!["update_mask"], retitle(id, "")),
        (vec!["title"], UpdatePostRequest { update_mask: mask(&["title"]), ..retitle(id, "") }),
        (vec!["post_id", "title"], retitle("no id", "two\nlines")),
    ];
    for (fields, request) in table {
        let refusal = Refusal::of(ada.update_post(request.clone()).await);
        assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_FIELDS"), "{request:?}");
        assert_eq!(refusal.fields, fields, "{request:?}");
    }
    assert_eq!(current(&mut ada, id).await, post);
}

#[tokio::test]
async fn a_stale_revision_is_refused_with_the_current_one() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let id = created(&mut ada, "a title").await.post_id;
    let on = |revision| UpdatePostRequest { revision, ..retitle(&id, "new") };
    ada.update_post(on(1)).await.unwrap();
    for revision in [1, 3] {
        let refusal = Refusal::of(ada.update_post(on(revision)).await);
        assert_eq!(refusal.what(), (Code::Aborted, "STALE_REVISION"));
        assert_eq!(refusal.metadata["current_revision"], "2");
    }
    assert_eq!(ada.update_post(on(0)).await.unwrap().into_inner().post.unwrap().revision, 3);
}

#[tokio::test]
async fn of_those_who_change_the_same_revision_one_wins() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let id = created(&mut ada, "a title").await.post_id;
    let updates = (0..20).map(|number| {
        let mut ada = ada.clone();
        let request = UpdatePostRequest { revision: 1, ..retitle(&id, &format!("by {number}")) };
        async move { ada.update_post(request).await }
    });
    let answers = futures::future::join_all(updates).await;
    let won: Vec<_> = answers.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!(won[0].get_ref().post.as_ref(), Some(&current(&mut ada, &id).await));
}

#[tokio::test]
async fn a_closed_post_stays_closed() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let id = created(&mut ada, "a title").await.post_id;
    ada.close_post(close(&id)).await.unwrap();
    let updated = ada.update_post(retitle(&id, "new")).await.unwrap().into_inner().post.unwrap();
    assert_eq!((updated.state(), updated.revision), (PostState::Closed, 2));
    assert_eq!(current(&mut ada, &id).await, updated);
}

#[tokio::test]
async fn what_is_deleted_or_not_there_is_not_updated() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client_everywhere("ada", Role::Author);
    let id = created(&mut ada, "a title").await.post_id;
    let elsewhere = UpdatePostRequest { site: "news".into(), ..retitle(&id, "new") };
    for request in [elsewhere, retitle(&Uuid::now_v7().to_string(), "new")] {
        let refusal = Refusal::of(ada.update_post(request).await);
        assert_eq!(refusal.what(), (Code::NotFound, "POST_NOT_FOUND"));
    }
    ada.delete_post(delete(&id)).await.unwrap();
    let refusal = Refusal::of(ada.update_post(retitle(&id, "new")).await);
    assert_eq!(refusal.what(), (Code::FailedPrecondition, "POST_DELETED"));
}
