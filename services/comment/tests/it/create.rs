use agora_proto::comment::v1::{Attribution, CreateCommentRequest, Decision};
use bus_schema::Time;
use chassis::{
    auth::Role,
    testing::{Refusal, Tokens, texts},
};
use prost_types::Timestamp;
use tonic::Code;
use uuid::Uuid;

use super::fixture::{Fixture, SITE, all_pages, create, created, current, own, reply, unknown};

#[tokio::test]
async fn a_comment_is_answered_as_its_author_reads_it() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    // A letter and a combining accent.
    let request = create(&post_id, "Cafe\u{301}\n\tat 5");
    let answer = ada.create_comment(request).await.unwrap().into_inner();
    assert_eq!(own(&answer.position), 1);
    let comment = answer.comment.unwrap();

    assert_eq!(Uuid::parse_str(&comment.comment_id).unwrap().get_version_num(), 7);
    assert_eq!((comment.site.as_str(), &comment.post_id), (SITE, &post_id));
    assert_eq!(comment.body, "Caf\u{e9}\n\tat 5");
    assert_eq!((comment.author_id.as_str(), comment.author_name.as_str()), ("ada", "ADA"));
    assert_eq!((comment.parent_id.as_str(), comment.depth, comment.revision), ("", 1, 1));
    assert_eq!((comment.deleted, comment.decision()), (false, Decision::Unspecified));

    let mut read = current(&mut ada, &comment.comment_id).await;
    read.decision = comment.decision;
    assert_eq!(read, comment);
}

#[tokio::test]
async fn replies_go_below_what_they_reply_to() {
    let fixture = Fixture::start().await;
    let (post_id, other) = (fixture.post().await, fixture.post().await);
    let mut ada = fixture.client("ada", Role::Author);
    let first = created(&mut ada, create(&post_id, "first")).await;
    let second = created(&mut ada, reply(&first, "second")).await;
    let third = created(&mut ada, reply(&second, "third")).await;
    assert_eq!((second.parent_id, second.depth), (first.comment_id.clone(), 2));
    assert_eq!((third.parent_id, third.depth), (second.comment_id, 3));

    let parent = |parent_id: String| CreateCommentRequest { parent_id, ..create(&post_id, "x") };
    let elsewhere = CreateCommentRequest { post_id: other, ..reply(&first, "x") };
    for request in [parent(unknown()), elsewhere] {
        let refusal = Refusal::of(ada.create_comment(request).await);
        assert_eq!(refusal.what(), (Code::NotFound, "PARENT_NOT_FOUND"));
    }
}

#[tokio::test]
async fn a_thread_is_64_deep() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let mut last = created(&mut ada, create(&fixture.post().await, "1")).await;
    for depth in 2..=64 {
        last = created(&mut ada, reply(&last, &depth.to_string())).await;
    }
    let refusal = Refusal::of(ada.create_comment(reply(&last, "65")).await);
    assert_eq!(refusal.what(), (Code::FailedPrecondition, "TOO_DEEP"));
    assert_eq!(refusal.metadata["max_depth"], "64");
}

#[tokio::test]
async fn real_texts_are_kept() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let ada = fixture.client("ada", Role::Author);
    let creates = texts().into_iter().map(|text| {
        let (mut ada, request) = (ada.clone(), create(&post_id, &text));
        async move { created(&mut ada, request).await }
    });
    let mut comments = futures::future::join_all(creates).await;
    let mut listed = all_pages(&mut ada.clone(), &post_id, 500).await;
    for comment in &mut listed {
        comment.decision = Decision::Unspecified.into();
    }
    let by_id = |comment: &agora_proto::comment::v1::Comment| comment.comment_id.clone();
    comments.sort_by_key(by_id);
    listed.sort_by_key(by_id);
    assert_eq!(listed, comments);
}

#[tokio::test]
async fn limits_are_reached_and_not_passed() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut ada = fixture.client("ada", Role::Author);
    let body = |body: &str| create(&post_id, body);
    created(&mut ada, body(&"é".repeat(8 * 1024))).await;
    let table = [
        ("body", body(&"x".repeat(16 * 1024 + 1))),
        ("body", body("")),
        ("body", body(" \n")),
        ("body", body("a bell\u{7}")),
        ("site", CreateCommentRequest { site: "No Slug".into(), ..body("x") }),
        ("post_id", CreateCommentRequest { post_id: String::new(), ..body("x") }),
        ("parent_id", CreateCommentRequest { parent_id: "7".into(), ..body("x") }),
        ("request_id", CreateCommentRequest { request_id: "7".into(), ..body("x") }),
        ("position", CreateCommentRequest { position: "here".into(), ..body("x") }),
    ];
    for (field, request) in table {
        let refusal = Refusal::of(ada.create_comment(request).await);
        assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_FIELDS"), "{field}");
        assert_eq!(refusal.fields, [field]);
    }
    assert_eq!(all_pages(&mut ada, &post_id, 10).await.len(), 1);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let fixture = Fixture::start().await;
    let future = Time::from_micros(Time::now().micros() + 3_600_000_000);
    let request = CreateCommentRequest {
        site: String::new(),
        post_id: "a post".into(),
        parent_id: "a comment".into(),
        body: "\u{1b}[31m".into(),
        request_id: "again".into(),
        position: "comment".into(),
        attribution: Some(Attribution {
            author_id: String::new(),
            author_name: "x".repeat(201),
            create_time: Some(future.into()),
        }),
    };
    let mut operator = fixture.client("olga", Role::Operator);
    let mut refusal = Refusal::of(operator.create_comment(request).await);
    assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_FIELDS"));
    refusal.fields.sort();
    let expected = [
        "attribution.author_id",
        "attribution.author_name",
        "attribution.create_time",
        "body",
        "parent_id",
        "position",
        "post_id",
        "request_id",
        "site",
    ];
    assert_eq!(refusal.fields, expected);
}

#[tokio::test]
async fn writing_needs_a_role_on_the_site() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let foreign = Tokens::new().token("ada", &[(SITE, Role::Admin)]);
    let elsewhere = fixture.tokens.token("ada", &[("news", Role::Author)]);
    let callers = [
        (fixture.anonymous(), (Code::Unauthenticated, "TOKEN_MISSING")),
        (fixture.client_with(Some(&foreign)), (Code::Unauthenticated, "TOKEN_INVALID")),
        (fixture.client_with(Some(&elsewhere)), (Code::PermissionDenied, "PERMISSION_DENIED")),
        (fixture.client("ada", Role::Reader), (Code::PermissionDenied, "PERMISSION_DENIED")),
        (fixture.client("ada", Role::Service), (Code::PermissionDenied, "PERMISSION_DENIED")),
    ];
    for (mut caller, expected) in callers {
        let refusal = Refusal::of(caller.create_comment(create(&post_id, "x")).await);
        assert_eq!(refusal.what(), expected);
    }
    assert_eq!(all_pages(&mut fixture.anonymous(), &post_id, 10).await, []);
}

#[tokio::test]
async fn an_import_names_the_author_and_the_time() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let time = Timestamp { seconds: 1_383_805_608, nanos: 0 };
    let attribution = Attribution {
        author_id: "youtube:Julius NM".into(),
        author_name: "Julius NM".into(),
        create_time: Some(time),
    };
    let attribution = Some(attribution);
    let request = CreateCommentRequest { attribution, ..create(&post_id, "imported") };

    let mut author = fixture.client("ada", Role::Author);
    let refusal = Refusal::of(author.create_comment(request.clone()).await);
    assert_eq!(refusal.what(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(refusal.metadata["permission"], "import");

    let mut operator = fixture.client("olga", Role::Operator);
    let comment = created(&mut operator, request).await;
    assert_eq!(
        (comment.author_id.as_str(), comment.author_name.as_str()),
        ("youtube:Julius NM", "Julius NM")
    );
    assert_eq!(comment.create_time, Some(time));
    assert!(comment.update_time.unwrap().seconds > time.seconds);
}
