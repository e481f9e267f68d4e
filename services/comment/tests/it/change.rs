use agora_proto::comment::v1::{DeleteCommentRequest, UpdateCommentRequest};
use chassis::{auth::Role, testing::Refusal};
use tonic::Code;

use super::fixture::{Fixture, create, created, current, delete, own, reply, unknown, update};

#[tokio::test]
async fn an_update_makes_the_next_revision() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let first = created(&mut ada, create(&post_id, "first")).await;
    let id = &first.comment_id;
    let request = UpdateCommentRequest { revision: 1, ..update(id, "second") };
    let answer = ada.update_comment(request.clone()).await.unwrap().into_inner();
    assert_eq!(own(&answer.position), 2);
    let second = answer.comment.unwrap();
    assert_eq!((second.revision, second.body.as_str()), (2, "second"));
    assert_eq!(second.create_time, first.create_time);
    assert_ne!(second.update_time, first.update_time);
    assert_eq!(current(&mut ada, id).await.body, "second");

    let refusal = Refusal::of(ada.update_comment(request).await);
    assert_eq!(refusal.what(), (Code::Aborted, "STALE_REVISION"));
    assert_eq!(refusal.metadata["current_revision"], "2");
    let stale = DeleteCommentRequest { revision: 1, ..delete(id) };
    let refusal = Refusal::of(ada.delete_comment(stale).await);
    assert_eq!(refusal.what(), (Code::Aborted, "STALE_REVISION"));
}

#[tokio::test]
async fn a_deleted_comment_keeps_its_place_without_its_text() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let first = created(&mut ada, create(&post_id, "first")).await;
    let second = created(&mut ada, reply(&first, "second")).await;
    let id = &first.comment_id;
    let answer = ada.delete_comment(delete(id)).await.unwrap().into_inner();
    let deleted = answer.comment.unwrap();
    assert_eq!((deleted.deleted, deleted.body.as_str(), deleted.revision), (true, "", 1));
    let read = current(&mut ada, id).await;
    assert_eq!((read.deleted, read.body.as_str()), (true, ""));
    assert_eq!(read.update_time, deleted.update_time);
    assert_eq!(current(&mut ada, &second.comment_id).await.body, "second");

    let refusals = [
        (Refusal::of(ada.update_comment(update(id, "x")).await), "COMMENT_DELETED"),
        (Refusal::of(ada.delete_comment(delete(id)).await), "COMMENT_DELETED"),
        (Refusal::of(ada.create_comment(reply(&first, "x")).await), "PARENT_DELETED"),
    ];
    for (refusal, expected) in refusals {
        assert_eq!(refusal.what(), (Code::FailedPrecondition, expected));
    }
}

#[tokio::test]
async fn authors_change_their_own_and_administrators_anybodys() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let first = created(&mut ada, create(&fixture.post().await, "first")).await;
    let id = &first.comment_id;
    for role in [Role::Author, Role::Moderator, Role::Operator] {
        let mut bob = fixture.client("bob", role);
        for refusal in [
            Refusal::of(bob.update_comment(update(id, "mine now")).await),
            Refusal::of(bob.delete_comment(delete(id)).await),
        ] {
            assert_eq!(refusal.what(), (Code::PermissionDenied, "NOT_THE_AUTHOR"), "{role}");
        }
    }
    let mut admin = fixture.client("root", Role::Admin);
    admin.update_comment(update(id, "by an administrator")).await.unwrap();
    let changed = current(&mut ada, id).await;
    assert_eq!((changed.body.as_str(), changed.author_id.as_str()), ("by an administrator", "ada"));
    admin.delete_comment(delete(id)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_cannot_be_changed() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let id = &unknown();
    for refusal in [
        Refusal::of(ada.update_comment(update(id, "x")).await),
        Refusal::of(ada.delete_comment(delete(id)).await),
    ] {
        assert_eq!(refusal.what(), (Code::NotFound, "COMMENT_NOT_FOUND"));
    }
    let wrong = UpdateCommentRequest {
        site: "No Slug".into(),
        comment_id: "7".into(),
        request_id: "7".into(),
        position: "here".into(),
        ..update("", "")
    };
    let mut refusal = Refusal::of(ada.update_comment(wrong).await);
    refusal.fields.sort();
    assert_eq!(refusal.fields, ["body", "comment_id", "position", "request_id", "site"]);
}

#[tokio::test]
async fn a_closed_post_keeps_nobody_from_changing_their_comment() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let id = created(&mut ada, create(&post_id, "first")).await.comment_id;
    fixture.heard(&fixture.close(&post_id).await).await;
    ada.update_comment(update(&id, "second")).await.unwrap();
    ada.delete_comment(delete(&id)).await.unwrap();
}
