use std::collections::HashSet;

use agora_proto::post::v1::{Attribution, CreatePostRequest, PostState};
use bus_schema::Time;
use chassis::{
    auth::Role,
    testing::{Refusal, texts},
};
use prost_types::Timestamp;
use tonic::Code;
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use super::fixture::{Fixture, SITE, all_pages, create, create_with_key, created, current, find};

#[tokio::test]
async fn a_post_is_answered_as_it_is_read() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let request = CreatePostRequest {
        external_key: "https://example.org/?q=ä".into(),
        // A letter and a combining accent.
        title: "Cafe\u{301}".into(),
        body: "one\n\ttwo".into(),
        ..create("")
    };
    let answer = ada.create_post(request).await.unwrap().into_inner();
    assert_eq!(answer.position, "post:1");
    let post = answer.post.unwrap();

    assert_eq!(Uuid::parse_str(&post.post_id).unwrap().get_version_num(), 7);
    assert_eq!((post.site.as_str(), post.title.as_str()), (SITE, "Caf\u{e9}"));
    assert_eq!(post.body, "one\n\ttwo");
    assert_eq!((post.author_id.as_str(), post.author_name.as_str()), ("ada", "ADA"));
    assert_eq!((post.revision, post.state()), (1, PostState::Open));
    assert_eq!(post.create_time, post.update_time);

    let mut anonymous = fixture.anonymous();
    assert_eq!(current(&mut anonymous, &post.post_id).await, post);
    let found = anonymous.get_post(find("https://example.org/?q=ä")).await.unwrap().into_inner();
    assert_eq!((found.post, found.position.as_str()), (Some(post), "post:1"));
}

#[tokio::test]
async fn real_texts_are_kept() {
    let fixture = Fixture::start().await;
    let ada = fixture.client("ada", Role::Author);
    let texts = texts();
    let creates = texts.iter().map(|text| {
        let mut ada = ada.clone();
        let body = text.clone();
        async move {
            let request = CreatePostRequest { body, ..create("a comment") };
            ada.create_post(request).await.unwrap().into_inner().post.unwrap()
        }
    });
    let posts = futures::future::join_all(creates).await;
    for (post, text) in posts.iter().zip(&texts) {
        assert_eq!(post.body, text.nfc().collect::<String>());
    }
    let listed = all_pages(&mut fixture.anonymous(), 500).await;
    assert_eq!(listed.len(), texts.len());
    for post in posts {
        assert!(listed.contains(&post));
    }
}

#[tokio::test]
async fn limits_are_reached_and_not_passed() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let largest = CreatePostRequest {
        title: "é".repeat(300),
        body: "x".repeat(64 * 1024),
        external_key: "ü".repeat(1_024),
        ..create("")
    };
    ada.create_post(largest.clone()).await.unwrap();
    let table = [
        ("title", CreatePostRequest { title: "é".repeat(301), ..create("") }),
        ("title", CreatePostRequest { title: " ".into(), ..create("") }),
        ("title", create("two\nlines")),
        ("body", CreatePostRequest { body: "x".repeat(64 * 1024 + 1), ..create("a title") }),
        ("body", CreatePostRequest { body: "a bell\u{7}".into(), ..create("a title") }),
        ("external_key", create_with_key(&"ü".repeat(1_025))),
        ("external_key", create_with_key("two\nlines")),
        ("site", CreatePostRequest { site: "No Slug".into(), ..create("a title") }),
        ("site", CreatePostRequest { site: "x".repeat(41), ..create("a title") }),
        ("request_id", CreatePostRequest { request_id: "7".into(), ..create("a title") }),
        ("position", CreatePostRequest { position: "here".into(), ..create("a title") }),
    ];
    for (field, request) in table {
        let refusal = Refusal::of(ada.create_post(request).await);
        assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_FIELDS"), "{field}");
        assert_eq!(refusal.fields, [field]);
    }
    assert_eq!(all_pages(&mut ada, 10).await.len(), 1);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let fixture = Fixture::start().await;
    let future = Time::from_micros(Time::now().micros() + 3_600_000_000);
    let request = CreatePostRequest {
        site: String::new(),
        external_key: "\0".into(),
        title: String::new(),
        body: "\u{1b}[31m".into(),
        request_id: "again".into(),
        position: "post".into(),
        attribution: Some(Attribution {
            author_id: String::new(),
            author_name: "x".repeat(201),
            create_time: Some(future.into()),
        }),
    };
    let mut operator = fixture.client("olga", Role::Operator);
    let mut refusal = Refusal::of(operator.create_post(request).await);
    assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_FIELDS"));
    refusal.fields.sort();
    let expected = [
        "attribution.author_id",
        "attribution.author_name",
        "attribution.create_time",
        "body",
        "external_key",
        "position",
        "request_id",
        "site",
        "title",
    ];
    assert_eq!(refusal.fields, expected);
}

#[tokio::test]
async fn of_those_who_want_a_key_one_gets_it() {
    let fixture = Fixture::start().await;
    let ada = fixture.client("ada", Role::Author);
    let creates = (0..20).map(|_| {
        let mut ada = ada.clone();
        async move { ada.create_post(create_with_key("k")).await }
    });
    let answers = futures::future::join_all(creates).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let [Ok(winner)] = &won[..] else { panic!("{} got it", won.len()) };
    let winner = &winner.get_ref().post.as_ref().unwrap().post_id;
    for answer in lost {
        let refusal = Refusal::of(answer);
        assert_eq!(refusal.what(), (Code::AlreadyExists, "EXTERNAL_KEY_TAKEN"));
        assert_eq!(&refusal.metadata["post_id"], winner);
    }
    assert_eq!(all_pages(&mut fixture.anonymous(), 50).await.len(), 1);
}

#[tokio::test]
async fn the_same_key_on_another_site_is_another_key() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client_everywhere("ada", Role::Author);
    ada.create_post(create_with_key("k")).await.unwrap();
    let elsewhere = CreatePostRequest { site: "news".into(), ..create_with_key("k") };
    ada.create_post(elsewhere).await.unwrap();
}

#[tokio::test]
async fn an_import_names_the_author_and_the_time() {
    let fixture = Fixture::start().await;
    let time = Timestamp { seconds: 1_383_805_608, nanos: 0 };
    let attribution = Attribution {
        author_id: "youtube:Julius NM".into(),
        author_name: "Julius NM".into(),
        create_time: Some(time),
    };
    let request = CreatePostRequest { attribution: Some(attribution), ..create("imported") };

    let mut author = fixture.client("ada", Role::Author);
    let refusal = Refusal::of(author.create_post(request.clone()).await);
    assert_eq!(refusal.what(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(refusal.metadata["permission"], "import");

    let mut operator = fixture.client("olga", Role::Operator);
    let answer = operator.create_post(request).await.unwrap().into_inner();
    let post = answer.post.unwrap();
    assert_eq!(
        (post.author_id.as_str(), post.author_name.as_str()),
        ("youtube:Julius NM", "Julius NM")
    );
    assert_eq!(post.create_time, Some(time));
    assert!(post.update_time.unwrap().seconds > time.seconds);

    let timeless = Attribution { author_id: "bob".into(), ..Default::default() };
    let request = CreatePostRequest { attribution: Some(timeless), ..create("now") };
    let post = operator.create_post(request).await.unwrap().into_inner().post.unwrap();
    assert_eq!((post.author_id.as_str(), post.create_time), ("bob", post.update_time));
}

#[tokio::test]
async fn every_post_has_an_id_of_its_own() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let mut ids = HashSet::new();
    for _ in 0..10 {
        ids.insert(created(&mut ada, "the same title").await.post_id);
    }
    assert_eq!(ids.len(), 10);
}
