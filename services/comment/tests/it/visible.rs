//! What moderation says decides who sees a comment.

use agora_proto::comment::v1::{Comment, Decision};
use chassis::{auth::Role, testing::Refusal};
use tonic::Code;

use super::fixture::{
    Client, Fixture, HELD, bodies, create, created, current, delete, get, reply, update,
};

/// That a caller is told there is no such comment.
async fn is_hidden(client: &mut Client, comment: &Comment) {
    let refusal = Refusal::of(client.get_comment(get(&comment.comment_id)).await);
    assert_eq!(refusal.what(), (Code::NotFound, "COMMENT_NOT_FOUND"));
}

/// Those who see what everybody sees: somebody without a token, and another author.
fn others(fixture: &Fixture) -> [Client; 2] {
    [fixture.anonymous(), fixture.client("bob", Role::Author)]
}

#[tokio::test]
async fn what_no_rule_holds_is_approved_and_visible_to_all() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let comment = created(&mut ada, create(&post_id, "well said")).await;
    let approved = fixture.decided(&comment.comment_id, Decision::Approved).await;
    for mut other in others(&fixture) {
        assert_eq!(current(&mut other, &comment.comment_id).await, approved);
        assert_eq!(bodies(&mut other, &post_id).await, ["well said"]);
    }
}

#[tokio::test]
async fn what_is_held_is_for_its_author_and_moderators_until_it_is_approved() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let comment = created(&mut ada, create(&post_id, HELD)).await;
    fixture.decided(&comment.comment_id, Decision::Pending).await;
    for mut other in others(&fixture) {
        is_hidden(&mut other, &comment).await;
        assert_eq!(bodies(&mut other, &post_id).await, Vec::<String>::new());
    }
    for mut own in [ada, fixture.client("mo", Role::Moderator)] {
        assert_eq!(current(&mut own, &comment.comment_id).await.decision(), Decision::Pending);
        assert_eq!(bodies(&mut own, &post_id).await, [HELD]);
    }

    fixture.approve(&comment).await;
    for mut other in others(&fixture) {
        assert_eq!(current(&mut other, &comment.comment_id).await.decision(), Decision::Approved);
        assert_eq!(bodies(&mut other, &post_id).await, [HELD]);
    }
}

#[tokio::test]
async fn what_is_rejected_takes_no_replies() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let comment = created(&mut ada, create(&post_id, "buy this")).await;
    let early = created(&mut ada, reply(&comment, "a reply in time")).await;
    for id in [&comment.comment_id, &early.comment_id] {
        fixture.decided(id, Decision::Approved).await;
    }
    assert_eq!(bodies(&mut fixture.anonymous(), &post_id).await.len(), 2);

    fixture.reject(&comment).await;
    let refusal = Refusal::of(ada.create_comment(reply(&comment, "too late")).await);
    assert_eq!(refusal.what(), (Code::FailedPrecondition, "PARENT_REJECTED"));
    // Below what is rejected nobody sees anything but their own.
    for mut other in others(&fixture) {
        is_hidden(&mut other, &comment).await;
        is_hidden(&mut other, &early).await;
        assert_eq!(bodies(&mut other, &post_id).await, Vec::<String>::new());
    }
    for mut own in [ada, fixture.client("mo", Role::Moderator)] {
        assert_eq!(current(&mut own, &comment.comment_id).await.decision(), Decision::Rejected);
        assert_eq!(bodies(&mut own, &post_id).await, ["buy this", "a reply in time"]);
    }
}

#[tokio::test]
async fn readers_see_the_newest_revision_that_was_approved() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let comment = created(&mut ada, create(&post_id, "first")).await;
    let id = &comment.comment_id;
    let first = fixture.decided(id, Decision::Approved).await;
    let second = ada.update_comment(update(id, HELD)).await.unwrap().into_inner().comment.unwrap();
    fixture.decided(id, Decision::Pending).await;
    for mut other in others(&fixture) {
        assert_eq!(current(&mut other, id).await, first);
    }
    let own = current(&mut ada, id).await;
    assert_eq!((own.revision, own.body.as_str(), own.decision()), (2, HELD, Decision::Pending));

    fixture.reject(&second).await;
    for mut other in others(&fixture) {
        is_hidden(&mut other, &comment).await;
    }
    ada.update_comment(update(id, "third")).await.unwrap();
    let third = fixture.decided(id, Decision::Approved).await;
    for mut other in others(&fixture) {
        assert_eq!(current(&mut other, id).await, third);
        assert_eq!(bodies(&mut other, &post_id).await, ["third"]);
    }
}

#[tokio::test]
async fn a_deleted_comment_that_was_seen_keeps_its_place_for_all() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let comment = created(&mut ada, create(&post_id, "first")).await;
    let answer = created(&mut ada, reply(&comment, "second")).await;
    for id in [&comment.comment_id, &answer.comment_id] {
        fixture.decided(id, Decision::Approved).await;
    }
    ada.delete_comment(delete(&comment.comment_id)).await.unwrap();
    for mut other in others(&fixture) {
        assert!(current(&mut other, &comment.comment_id).await.deleted);
        assert_eq!(bodies(&mut other, &post_id).await, ["", "second"]);
    }
}
