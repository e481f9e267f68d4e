use agora_proto::post::v1::{
    ClosePostRequest, CreatePostRequest, DeletePostRequest, ReopenPostRequest, UpdatePostRequest,
};
use chassis::{auth::Role, testing::Refusal};
use tonic::Code;
use uuid::Uuid;

use super::fixture::{
    Client, Fixture, all_pages, close, create_with_key, current, delete, reopen, retitle,
};

/// The same requests each time, by their ids.
struct Story {
    ids: [String; 5],
}

impl Story {
    fn new() -> Self {
        Self { ids: std::array::from_fn(|_| Uuid::now_v7().to_string()) }
    }

    fn create(&self) -> CreatePostRequest {
        CreatePostRequest { request_id: self.ids[0].clone(), ..create_with_key("k") }
    }

    /// Everything that can be done with a post: what is answered, as text.
    async fn tell(&self, client: &mut Client) -> Vec<String> {
        let [_, update, closed, reopened, deleted] = self.ids.clone();
        let mut told = Vec::new();
        let answer = client.create_post(self.create()).await.unwrap().into_inner();
        let id = &answer.post.as_ref().unwrap().post_id.clone();
        told.push(format!("{answer:?}"));
        let request = ClosePostRequest { request_id: closed, ..close(id) };
        told.push(format!("{:?}", client.close_post(request).await.unwrap().into_inner()));
        let request = ReopenPostRequest { request_id: reopened, ..reopen(id) };
        told.push(format!("{:?}", client.reopen_post(request).await.unwrap().into_inner()));
        let request = UpdatePostRequest { request_id: update, revision: 1, ..retitle(id, "new") };
        told.push(format!("{:?}", client.update_post(request).await.unwrap().into_inner()));
        let request = DeletePostRequest { request_id: deleted, ..delete(id) };
        told.push(format!("{:?}", client.delete_post(request).await.unwrap().into_inner()));
        told
    }
}

#[tokio::test]
async fn a_retry_gets_the_same_answer_and_has_no_second_effect() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let story = Story::new();
    let told = story.tell(&mut ada).await;
    // By now the post is changed, closed, opened and deleted.
    assert_eq!(story.tell(&mut ada).await, told);
    // The position of a retry is that of the write; another write goes on at 6.
    let answer = ada.create_post(create_with_key("k")).await.unwrap().into_inner();
    assert_eq!(answer.position, "post:6");
}

#[tokio::test]
async fn retries_that_overtake_each_other_have_one_effect() {
    let fixture = Fixture::start().await;
    let ada = fixture.client("ada", Role::Author);
    let request = Story::new().create();
    let creates = (0..20).map(|_| {
        let (mut ada, request) = (ada.clone(), request.clone());
        async move { ada.create_post(request).await.unwrap().into_inner() }
    });
    let answers = futures::future::join_all(creates).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(all_pages(&mut fixture.anonymous(), 10).await.len(), 1);
}

#[tokio::test]
async fn another_request_under_the_same_id_is_refused() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let request = Story::new().create();
    let post = ada.create_post(request.clone()).await.unwrap().into_inner().post.unwrap();
    let another = CreatePostRequest { body: "another".into(), ..request.clone() };
    let refusal = Refusal::of(ada.create_post(another).await);
    assert_eq!(refusal.what(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(refusal.fields, ["request_id"]);
    assert_eq!(current(&mut ada, &post.post_id).await, post);

    // The same id for another method, or from somebody else, is another request.
    let id = request.request_id.clone();
    let close = ClosePostRequest { request_id: id.clone(), ..close(&post.post_id) };
    ada.close_post(close).await.unwrap();
    let theirs = CreatePostRequest { external_key: String::new(), ..request };
    fixture.client("bob", Role::Author).create_post(theirs).await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_decided_anew() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let first = ada.create_post(create_with_key("k")).await.unwrap().into_inner().post.unwrap();
    let request = Story::new().create();
    let refusal = Refusal::of(ada.create_post(request.clone()).await);
    assert_eq!(refusal.what(), (Code::AlreadyExists, "EXTERNAL_KEY_TAKEN"));
    ada.delete_post(delete(&first.post_id)).await.unwrap();
    ada.create_post(request).await.unwrap();
}
