use agora_proto::post::v1::{Attribution, CreatePostRequest, ListPostsRequest};
use chassis::{auth::Role, testing::Refusal};
use prost_types::Timestamp;
use tonic::Code;

use super::fixture::{Fixture, all_pages, create, created, current, delete, list};

#[tokio::test]
async fn posts_are_listed_newest_first_without_deleted_ones() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client_everywhere("ada", Role::Author);
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(created(&mut ada, &format!("number {number}")).await.post_id);
    }
    let elsewhere = CreatePostRequest { site: "news".into(), ..create("elsewhere") };
    ada.create_post(elsewhere).await.unwrap();
    ada.delete_post(delete(&ids.remove(3))).await.unwrap();
    ids.reverse();

    for page_size in [1, 2, 3, 6, 500] {
        let posts = all_pages(&mut fixture.anonymous(), page_size).await;
        let listed: Vec<_> = posts.iter().map(|post| post.post_id.clone()).collect();
        assert_eq!(listed, ids, "pages of {page_size}");
        assert_eq!(posts[0], current(&mut ada, &ids[0]).await);
    }
    let answer = ada.list_posts(list(0, "")).await.unwrap().into_inner();
    assert_eq!((answer.posts.len(), answer.position.as_str()), (6, "post:9"));
    let nowhere = ListPostsRequest { site: "empty".into(), ..list(0, "") };
    assert_eq!(ada.list_posts(nowhere).await.unwrap().into_inner().posts, []);
}

#[tokio::test]
async fn an_imported_post_stands_where_its_time_says() {
    let fixture = Fixture::start().await;
    let mut operator = fixture.client("olga", Role::Operator);
    created(&mut operator, "now").await;
    // Two of the same moment, and one before.
    for (title, seconds) in [("a", 1_000), ("b", 1_000), ("c", 999)] {
        let create_time = Some(Timestamp { seconds, nanos: 0 });
        let attribution =
            Attribution { author_id: "bob".into(), author_name: String::new(), create_time };
        let request = CreatePostRequest { attribution: Some(attribution), ..create(title) };
        operator.create_post(request).await.unwrap();
    }
    let titles = all_pages(&mut operator, 1).await.into_iter().map(|post| post.title);
    assert_eq!(titles.collect::<Vec<_>>(), ["now", "b", "a", "c"]);
}

#[tokio::test]
async fn a_page_size_is_a_maximum() {
    let fixture = Fixture::start().await;
    let ada = fixture.client("ada", Role::Author);
    let creates = (0..510).map(|_| {
        let mut ada = ada.clone();
        async move { ada.create_post(create("one of many")).await.unwrap() }
    });
    futures::future::join_all(creates).await;
    let mut reader = fixture.anonymous();
    for (page_size, expected) in [(0, 50), (499, 499), (500, 500), (i32::MAX, 500)] {
        let answer = reader.list_posts(list(page_size, "")).await.unwrap().into_inner();
        assert_eq!(answer.posts.len(), expected, "of {page_size}");
        assert!(!answer.next_page_token.is_empty());
    }
    let refusal = Refusal::of(reader.list_posts(list(-1, "")).await);
    assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(refusal.fields, ["page_size"]);
}

#[tokio::test]
async fn large_posts_make_short_pages() {
    let fixture = Fixture::start().await;
    let ada = fixture.client("ada", Role::Author);
    let creates = (0..70).map(|_| {
        let mut ada = ada.clone();
        let request = CreatePostRequest { body: "x".repeat(64 * 1024), ..create("large") };
        async move { ada.create_post(request).await.unwrap() }
    });
    futures::future::join_all(creates).await;
    let mut reader = fixture.anonymous();
    let page = reader.list_posts(list(70, "")).await.unwrap().into_inner();
    assert!(page.posts.len() < 70 && !page.next_page_token.is_empty());
    assert_eq!(all_pages(&mut reader, 70).await.len(), 70);
}

#[tokio::test]
async fn a_page_token_opens_for_its_query_alone() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    for title in ["one", "two", "three"] {
        created(&mut ada, title).await;
    }
    let mut reader = fixture.anonymous();
    let first = reader.list_posts(list(1, "")).await.unwrap().into_inner();
    let token = first.next_page_token;
    // Another page size and a position are the same query.
    let second = ListPostsRequest { position: "post:3".into(), ..list(2, &token) };
    let second = reader.list_posts(second).await.unwrap().into_inner();
    assert_eq!((second.posts.len(), second.next_page_token.as_str()), (2, ""));

    let mut tampered = token.clone().into_bytes();
    tampered[30] ^= 1;
    let requests = [
        ListPostsRequest { site: "news".into(), ..list(1, &token) },
        list(1, &String::from_utf8(tampered).unwrap()),
        list(1, "bm90IGEgdG9rZW4"),
        list(1, &"A".repeat(5_000)),
    ];
    for request in requests {
        let refusal = Refusal::of(reader.list_posts(request).await);
        assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_PAGE_TOKEN"));
        assert_eq!(refusal.fields, ["page_token"]);
    }
}
