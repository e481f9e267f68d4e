use agora_proto::post::v1::CreatePostRequest;
use chassis::{
    auth::Role,
    testing::{Refusal, Tokens},
};
use tonic::Code;

use super::fixture::{
    Client, Fixture, SITE, close, create, created, current, delete, reopen, retitle,
};

/// What a caller is told who changes a post in every way.
async fn changes(client: &mut Client, id: &str) -> [Refusal; 4] {
    [
        Refusal::of(client.update_post(retitle(id, "mine now")).await),
        Refusal::of(client.delete_post(delete(id)).await),
        Refusal::of(client.close_post(close(id)).await),
        Refusal::of(client.reopen_post(reopen(id)).await),
    ]
}

#[tokio::test]
async fn writing_needs_a_token_that_verifies() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let post = created(&mut ada, "a title").await;
    let foreign = Tokens::new().token("ada", &[(SITE, Role::Admin)]);
    let callers = [
        (fixture.anonymous(), "TOKEN_MISSING"),
        (fixture.client_with(&foreign), "TOKEN_INVALID"),
        (fixture.client_with("nonsense"), "TOKEN_INVALID"),
    ];
    for (mut caller, reason) in callers {
        let refusal = Refusal::of(caller.create_post(create("a title")).await);
        assert_eq!(refusal.what(), (Code::Unauthenticated, reason));
        for refusal in changes(&mut caller, &post.post_id).await {
            assert_eq!(refusal.what(), (Code::Unauthenticated, reason));
        }
    }
    assert_eq!(current(&mut ada, &post.post_id).await, post);
}

#[tokio::test]
async fn a_role_holds_on_its_site() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let id = created(&mut ada, "a title").await.post_id;
    let elsewhere = CreatePostRequest { site: "news".into(), ..create("a title") };
    let refusal = Refusal::of(ada.create_post(elsewhere).await);
    assert_eq!(refusal.what(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(refusal.metadata["site"], "news");

    for role in [Role::Reader, Role::Service] {
        let mut caller = fixture.client("ada", role);
        let refusal = Refusal::of(caller.create_post(create("a title")).await);
        assert_eq!(refusal.what(), (Code::PermissionDenied, "PERMISSION_DENIED"), "{role}");
        assert_eq!(refusal.metadata["permission"], "write_post");
        for refusal in changes(&mut caller, &id).await {
            assert_eq!(refusal.what(), (Code::PermissionDenied, "PERMISSION_DENIED"), "{role}");
        }
    }
}

#[tokio::test]
async fn authors_change_their_own_and_administrators_anybodys() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let post = created(&mut ada, "a title").await;
    let id = &post.post_id;
    for role in [Role::Author, Role::Moderator, Role::Operator] {
        for refusal in changes(&mut fixture.client("bob", role), id).await {
            assert_eq!(refusal.what(), (Code::PermissionDenied, "NOT_THE_AUTHOR"), "{role}");
        }
    }
    assert_eq!(current(&mut ada, id).await, post);

    let mut admin = fixture.client("root", Role::Admin);
    admin.update_post(retitle(id, "by an administrator")).await.unwrap();
    admin.close_post(close(id)).await.unwrap();
    admin.reopen_post(reopen(id)).await.unwrap();
    let changed = current(&mut ada, id).await;
    assert_eq!(
        (changed.title.as_str(), changed.author_id.as_str()),
        ("by an administrator", "ada")
    );
    admin.delete_post(delete(id)).await.unwrap();
}
