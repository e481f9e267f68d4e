use agora_proto::comment::v1::{Attribution, CreateCommentRequest, ListCommentsRequest};
use chassis::{auth::Role, testing::Refusal};
use prost_types::Timestamp;
use tonic::Code;

use super::fixture::{Fixture, all_pages, bodies, create, created, list, unknown};

#[tokio::test]
async fn comments_are_listed_oldest_first_in_pages() {
    let fixture = Fixture::start().await;
    let (post_id, other) = (fixture.post().await, fixture.post().await);
    let mut ada = fixture.client("ada", Role::Author);
    let mut ids = Vec::new();
    for number in 0..7 {
        let request = create(&post_id, &format!("number {number}"));
        ids.push(created(&mut ada, request).await.comment_id);
    }
    created(&mut ada, create(&other, "elsewhere")).await;
    for page_size in [1, 2, 3, 7, 500] {
        let comments = all_pages(&mut ada, &post_id, page_size).await;
        let listed: Vec<_> = comments.into_iter().map(|comment| comment.comment_id).collect();
        assert_eq!(listed, ids, "pages of {page_size}");
    }
    let answer = ada.list_comments(list(&post_id, 0, "")).await.unwrap().into_inner();
    assert!(answer.position.contains("comment:8") && answer.position.contains("post:2"));
}

#[tokio::test]
async fn an_imported_comment_stands_where_its_time_says() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut operator = fixture.client("olga", Role::Operator);
    created(&mut operator, create(&post_id, "now")).await;
    // Two of the same moment, and one before.
    for (body, seconds) in [("a", 1_000), ("b", 1_000), ("c", -999)] {
        let create_time = Some(Timestamp { seconds, nanos: 0 });
        let author_id = "bob".into();
        let attribution = Some(Attribution { author_id, create_time, ..Default::default() });
        let request = CreateCommentRequest { attribution, ..create(&post_id, body) };
        created(&mut operator, request).await;
    }
    let listed = all_pages(&mut operator, &post_id, 1).await;
    let listed: Vec<_> = listed.iter().map(|comment| comment.body.as_str()).collect();
    assert_eq!(listed, ["c", "a", "b", "now"]);
}

#[tokio::test]
async fn a_page_of_the_longest_comments_fits_into_an_answer() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let ada = fixture.client("ada", Role::Author);
    let body = "x".repeat(16 * 1024);
    let creates = (0..300).map(|_| {
        let (mut ada, request) = (ada.clone(), create(&post_id, &body));
        async move { created(&mut ada, request).await }
    });
    futures::future::join_all(creates).await;
    // As large a page as can be asked for: it is cut to what an answer holds.
    let mut ada = fixture.client("ada", Role::Author);
    assert_eq!(all_pages(&mut ada, &post_id, 500).await.len(), 300);
}

#[tokio::test]
async fn only_a_post_that_was_heard_of_has_a_list() {
    let fixture = Fixture::start().await;
    let post_id = fixture.post().await;
    let mut anyone = fixture.anonymous();
    assert_eq!(bodies(&mut anyone, &post_id).await, Vec::<String>::new());
    let elsewhere = ListCommentsRequest { site: "news".into(), ..list(&post_id, 0, "") };
    for request in [list(&unknown(), 0, ""), elsewhere] {
        let refusal = Refusal::of(anyone.list_comments(request).await);
        assert_eq!(refusal.what(), (Code::NotFound, "POST_NOT_FOUND"));
    }
}

#[tokio::test]
async fn a_page_token_is_for_one_list() {
    let fixture = Fixture::start().await;
    let (post_id, other) = (fixture.post().await, fixture.post().await);
    let mut ada = fixture.client("ada", Role::Author);
    for body in ["one", "two", "three"] {
        created(&mut ada, create(&post_id, body)).await;
    }
    let first = ada.list_comments(list(&post_id, 1, "")).await.unwrap().into_inner();
    let token = first.next_page_token;
    let rest = ada.list_comments(list(&post_id, 50, &token)).await.unwrap().into_inner();
    assert_eq!((rest.comments.len(), rest.next_page_token.as_str()), (2, ""));
    for request in [list(&other, 1, &token), list(&post_id, 1, "nonsense")] {
        let refusal = Refusal::of(ada.list_comments(request).await);
        assert_eq!(
            (refusal.code, refusal.fields),
            (Code::InvalidArgument, vec!["page_token".into()])
        );
    }
    let wrong = ListCommentsRequest { site: String::new(), ..list("7", -1, "") };
    let mut refusal = Refusal::of(ada.list_comments(wrong).await);
    refusal.fields.sort();
    assert_eq!(refusal.fields, ["page_size", "post_id", "site"]);
}
