use agora_proto::comment::v1::{
    Comment, CreateCommentRequest, DeleteCommentRequest, UpdateCommentRequest,
};
use chassis::{auth::Role, testing::Refusal};
use tonic::Code;

use super::fixture::{
    Client, Fixture, all_pages, bodies, create, created, delete, own, reply, unknown, update,
};

/// The same requests each time, by their ids.
struct Story {
    post_id: String,
    ids: [String; 4],
}

impl Story {
    fn new(post_id: String) -> Self {
        Self { post_id, ids: std::array::from_fn(|_| unknown()) }
    }

    fn create(&self) -> CreateCommentRequest {
        CreateCommentRequest { request_id: self.ids[0].clone(), ..create(&self.post_id, "first") }
    }

    /// Everything that can be done with a comment: what is answered, and up to where its
    /// position includes the events of comments. How far the service was with others'
    /// events may differ.
    async fn tell(&self, client: &mut Client) -> Vec<(Comment, u64)> {
        let [_, replied, updated, deleted] = self.ids.clone();
        let answer = client.create_comment(self.create()).await.unwrap().into_inner();
        let comment = answer.comment.unwrap();
        let mut told = vec![(comment.clone(), own(&answer.position))];
        let request = CreateCommentRequest { request_id: replied, ..reply(&comment, "reply") };
        let answer = client.create_comment(request).await.unwrap().into_inner();
        told.push((answer.comment.unwrap(), own(&answer.position)));
        let id = &comment.comment_id;
        let request =
            UpdateCommentRequest { request_id: updated, revision: 1, ..update(id, "new") };
        let answer = client.update_comment(request).await.unwrap().into_inner();
        told.push((answer.comment.unwrap(), own(&answer.position)));
        let request = DeleteCommentRequest { request_id: deleted, revision: 2, ..delete(id) };
        let answer = client.delete_comment(request).await.unwrap().into_inner();
        told.push((answer.comment.unwrap(), own(&answer.position)));
        told
    }
}

#[tokio::test]
async fn a_retry_gets_the_same_answer_and_has_no_second_effect() {
    let mut fixture = Fixture::start().await;
    let story = Story::new(fixture.post().await);
    let mut ada = fixture.client("ada", Role::Author);
    let told = story.tell(&mut ada).await;
    // By now the comment is changed and deleted, and its post is closed.
    fixture.heard(&fixture.close(&story.post_id).await).await;
    assert_eq!(story.tell(&mut ada).await, told);
    assert_eq!(bodies(&mut ada, &story.post_id).await, ["", "reply"]);

    fixture.stop().await;
    fixture.start_again().await;
    assert_eq!(story.tell(&mut fixture.client("ada", Role::Author)).await, told);
}

#[tokio::test]
async fn retries_at_the_same_time_have_one_effect() {
    let fixture = Fixture::start().await;
    let story = Story::new(fixture.post().await);
    let mut ada = fixture.client("ada", Role::Author);
    let creates = (0..20).map(|_| {
        let (mut ada, request) = (ada.clone(), story.create());
        async move { created(&mut ada, request).await }
    });
    let answers = futures::future::join_all(creates).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(all_pages(&mut ada, &story.post_id, 10).await.len(), 1);
}

#[tokio::test]
async fn another_request_under_the_same_id_is_refused() {
    let fixture = Fixture::start().await;
    let story = Story::new(fixture.post().await);
    let mut ada = fixture.client("ada", Role::Author);
    created(&mut ada, story.create()).await;
    let another = CreateCommentRequest { body: "another".into(), ..story.create() };
    let refusal = Refusal::of(ada.create_comment(another).await);
    assert_eq!(refusal.what(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(refusal.fields, ["request_id"]);
    assert_eq!(bodies(&mut ada, &story.post_id).await, ["first"]);

    // The same id from somebody else is another request.
    created(&mut fixture.client("bob", Role::Author), story.create()).await;
}
