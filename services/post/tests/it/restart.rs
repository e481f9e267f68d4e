use std::fs;

use agora_proto::post::v1::CreatePostRequest;
use bus_schema::{Sequence, Source};
use chassis::{
    auth::Role,
    testing::{Refusal, eventually},
};
use tonic::Code;
use uuid::Uuid;

use super::fixture::{
    Fixture, all_pages, close, create, create_with_key, created, delete, list, retitle,
};

/// Writes posts of every kind, with one request that can be retried.
async fn write(fixture: &Fixture) -> (CreatePostRequest, Sequence) {
    let mut ada = fixture.client("ada", Role::Author);
    let mut ids = Vec::new();
    for title in ["one", "two", "three", "four"] {
        ids.push(created(&mut ada, title).await.post_id);
    }
    ada.update_post(retitle(&ids[1], "changed")).await.unwrap();
    ada.close_post(close(&ids[2])).await.unwrap();
    ada.delete_post(delete(&ids[3])).await.unwrap();
    let request_id = Uuid::now_v7().to_string();
    let request = CreatePostRequest { request_id, ..create_with_key("k") };
    let answer = ada.create_post(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.position, "post:8");
    (request, Sequence(8))
}

#[tokio::test]
async fn a_restart_keeps_all() {
    let mut fixture = Fixture::start().await;
    let (request, _) = write(&fixture).await;
    let mut ada = fixture.client("ada", Role::Author);
    let answer = ada.create_post(request.clone()).await.unwrap().into_inner();
    let before = all_pages(&mut ada, 10).await;
    let token = ada.list_posts(list(1, "")).await.unwrap().into_inner().next_page_token;

    fixture.stop().await;
    fixture.start_again().await;
    let mut ada = fixture.client("ada", Role::Author);
    assert_eq!(all_pages(&mut ada, 10).await, before);
    let rest = ada.list_posts(list(10, &token)).await.unwrap().into_inner();
    assert_eq!((rest.posts.as_slice(), rest.position.as_str()), (&before[1..], "post:8"));
    assert_eq!(ada.create_post(request).await.unwrap().into_inner(), answer);
    let refusal = Refusal::of(ada.create_post(create_with_key("k")).await);
    assert_eq!(refusal.what(), (Code::AlreadyExists, "EXTERNAL_KEY_TAKEN"));
}

#[tokio::test]
async fn a_lost_database_is_made_again_from_the_stream() {
    let mut fixture = Fixture::start().await;
    let (request, last) = write(&fixture).await;
    let mut ada = fixture.client("ada", Role::Author);
    let answer = ada.create_post(request.clone()).await.unwrap().into_inner();
    let before = all_pages(&mut ada, 10).await;
    fixture.nats.holds(Source::Post, last).await;

    fixture.stop().await;
    for name in ["post.db", "post.db-wal", "post.db-shm"] {
        fs::remove_file(fixture.folder.path().join(name)).ok();
    }
    fixture.start_again().await;
    let mut ada = fixture.client("ada", Role::Author);
    // A write waits until the stream's events are back, and the retry is known as one.
    assert_eq!(ada.create_post(request).await.unwrap().into_inner(), answer);
    assert_eq!(all_pages(&mut ada, 10).await, before);
}

#[tokio::test]
async fn without_nats_writes_go_on_and_the_stream_catches_up() {
    let mut fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    created(&mut ada, "before").await;
    fixture.nats.holds(Source::Post, Sequence(1)).await;
    fixture.nats.kill().await;
    for _ in 0..20 {
        created(&mut ada, "meanwhile").await;
    }
    assert_eq!(all_pages(&mut ada, 50).await.len(), 21);
    fixture.nats.restart().await;
    fixture.nats.holds(Source::Post, Sequence(21)).await;
}

#[tokio::test]
async fn a_start_without_nats_reads_and_waits_with_writes() {
    let mut fixture = Fixture::start().await;
    write(&fixture).await;
    fixture.stop().await;
    fixture.nats.kill().await;
    fixture.config.server.request_timeout_ms = 500;
    fixture.start_again().await;
    let mut ada = fixture.client("ada", Role::Author);
    let before = all_pages(&mut ada, 10).await;
    assert_eq!(before.len(), 4);
    let request_id = Uuid::now_v7().to_string();
    let request = CreatePostRequest { request_id, ..create("waits") };
    let refusal = Refusal::of(ada.create_post(request.clone()).await);
    assert_eq!(refusal.what(), (Code::Unavailable, "JOURNAL_NOT_COMPARED"));
    assert!(refusal.is_retryable);

    fixture.nats.restart().await;
    eventually("writes", async || ada.create_post(request.clone()).await.ok()).await;
    assert_eq!(all_pages(&mut ada, 10).await.len(), before.len() + 1);
}
