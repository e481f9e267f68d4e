use agora_comment::{Config, PostService};
use agora_proto::{
    comment::v1::{
        Comment, CreateCommentRequest, Decision, DeleteCommentRequest, GetCommentRequest,
        ListCommentsRequest, UpdateCommentRequest, comment_service_client::CommentServiceClient,
    },
    moderation::v1::{
        ApproveRevisionRequest, Case, GetCaseRequest, RejectRevisionRequest,
        moderation_service_client::ModerationServiceClient,
    },
    post::v1::{
        ClosePostRequest, CreatePostRequest, DeletePostRequest, ReopenPostRequest,
        post_service_client::PostServiceClient,
    },
};
use bus_schema::Source;
use chassis::{
    Running,
    auth::Role,
    config,
    testing::{self, Connection, Nats, PATIENCE, Tokens, connect, eventually},
};
use eventstore::Position;
use tempfile::TempDir;
use tonic::Code;

/// The site that requests are for.
pub const SITE: &str = "blog";
/// What the policy that every site begins with holds for a moderator.
pub const HELD: &str = "click here";

pub type Client = CommentServiceClient<Connection>;

/// A comment, a post and a moderation service, with databases and a NATS of their own.
pub struct Fixture {
    comment: Option<Running>,
    post: Option<Running>,
    moderation: Running,
    pub config: Config,
    pub nats: Nats,
    pub tokens: Tokens,
    _folder: TempDir,
}

impl Fixture {
    pub async fn start() -> Self {
        let (nats, tokens, folder) = (Nats::start().await, Tokens::new(), TempDir::new().unwrap());
        let bus = config::Nats { url: nats.url(), ..Default::default() };
        let database = |name: &str| config::Database {
            path: folder.path().join(name).join(format!("{name}.db")),
            ..Default::default()
        };
        for name in ["post", "moderation", "comment"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let post = agora_post::start(agora_post::Config {
            server: testing::server(),
            installation: testing::installation(),
            nats: bus.clone(),
            auth: tokens.auth(),
            database: database("post"),
            ..Default::default()
        });
        let post = post.await.unwrap();
        let moderation = agora_moderation::start(agora_moderation::Config {
            server: testing::server(),
            installation: testing::installation(),
            nats: bus.clone(),
            auth: tokens.auth(),
            database: database("moderation"),
            ..Default::default()
        });
        let moderation = moderation.await.unwrap();
        let config = Config {
            server: testing::server(),
            installation: testing::installation(),
            nats: bus,
            auth: tokens.auth(),
            database: database("comment"),
            post_service: PostService {
                url: format!("http://{}", post.grpc_address()),
                timeout_ms: PATIENCE.as_millis() as u64,
            },
            ..Default::default()
        };
        let comment = Some(agora_comment::start(config.clone()).await.unwrap());
        Self { comment, post: Some(post), moderation, config, nats, tokens, _folder: folder }
    }

    pub async fn stop(&mut self) {
        self.comment.take().unwrap().stop().await.unwrap();
    }

    /// Starts the comment service again, on a new port: clients are to be made anew.
    pub async fn start_again(&mut self) {
        self.comment = Some(agora_comment::start(self.config.clone()).await.unwrap());
    }

    pub async fn stop_post_service(&mut self) {
        self.post.take().unwrap().stop().await.unwrap();
    }

    /// A user with a role on [`SITE`].
    pub fn client(&self, user: &str, role: Role) -> Client {
        self.client_with(Some(&self.tokens.token(user, &[(SITE, role)])))
    }

    pub fn anonymous(&self) -> Client {
        self.client_with(None)
    }

    pub fn client_with(&self, token: Option<&str>) -> Client {
        CommentServiceClient::new(connect(self.comment.as_ref().unwrap().grpc_address(), token))
    }

    fn posts(&self) -> PostServiceClient<Connection> {
        let token = self.tokens.token("ada", &[("*", Role::Author)]);
        let address = self.post.as_ref().unwrap().grpc_address();
        PostServiceClient::new(connect(address, Some(&token)))
    }

    fn moderation(&self) -> ModerationServiceClient<Connection> {
        let token = self.tokens.token("mia", &[("*", Role::Moderator)]);
        ModerationServiceClient::new(connect(self.moderation.grpc_address(), Some(&token)))
    }

    /// Has a post created, and returns its id and the position.
    pub async fn post_on(&self, site: &str) -> (String, String) {
        let (site, title) = (site.into(), "a title".into());
        let request = CreatePostRequest { site, title, ..Default::default() };
        let answer = self.posts().create_post(request).await.unwrap().into_inner();
        (answer.post.unwrap().post_id, answer.position)
    }

    /// Has a post created that the comment service has heard of, and returns its id.
    pub async fn post(&self) -> String {
        let (post_id, position) = self.post_on(SITE).await;
        self.heard(&position).await;
        post_id
    }

    /// Has a post closed, and returns the position.
    pub async fn close(&self, post_id: &str) -> String {
        let (site, post_id) = (SITE.into(), post_id.into());
        let request = ClosePostRequest { site, post_id, ..Default::default() };
        self.posts().close_post(request).await.unwrap().into_inner().position
    }

    /// Has a post reopened, and returns the position.
    pub async fn reopen(&self, post_id: &str) -> String {
        let (site, post_id) = (SITE.into(), post_id.into());
        let request = ReopenPostRequest { site, post_id, ..Default::default() };
        self.posts().reopen_post(request).await.unwrap().into_inner().position
    }

    /// Has a post deleted, and returns the position.
    pub async fn delete_post(&self, post_id: &str) -> String {
        let (site, post_id) = (SITE.into(), post_id.into());
        let request = DeletePostRequest { site, post_id, ..Default::default() };
        self.posts().delete_post(request).await.unwrap().into_inner().position
    }

    /// Waits until the comment service is at a position.
    pub async fn heard(&self, position: &str) {
        let mut anyone = self.anonymous();
        let request = GetCommentRequest { position: position.into(), ..get(&unknown()) };
        eventually("the comment service's consumers", async || {
            let status = anyone.get_comment(request.clone()).await.unwrap_err();
            (status.code() == Code::NotFound).then_some(())
        })
        .await;
    }

    /// Waits until the comment service has heard this of a comment's newest revision.
    pub async fn decided(&self, comment_id: &str, decision: Decision) -> Comment {
        let mut moderator = self.client("mia", Role::Moderator);
        eventually("moderation's decision", async || {
            let comment = current(&mut moderator, comment_id).await;
            (comment.decision() == decision).then_some(comment)
        })
        .await
    }

    /// A comment's case, once moderation has heard of this revision.
    async fn case(&self, comment: &Comment) -> Case {
        let (site, comment_id) = (SITE.into(), comment.comment_id.clone());
        let request = GetCaseRequest { site, comment_id, ..Default::default() };
        eventually("the moderation service's consumer", async || {
            let answer = self.moderation().get_case(request.clone()).await.ok()?.into_inner();
            answer.moderation_case.filter(|case| case.revision == comment.revision)
        })
        .await
    }

    /// Has a moderator approve a comment's revision; the comment service hears of it.
    pub async fn approve(&self, comment: &Comment) {
        let case = self.case(comment).await;
        let request = ApproveRevisionRequest {
            site: SITE.into(),
            comment_id: case.comment_id,
            revision_id: case.revision_id,
            ..Default::default()
        };
        let answer = self.moderation().approve_revision(request).await.unwrap().into_inner();
        self.heard(&answer.position).await;
    }

    /// Has a moderator reject a comment's revision; the comment service hears of it.
    pub async fn reject(&self, comment: &Comment) {
        let case = self.case(comment).await;
        let request = RejectRevisionRequest {
            site: SITE.into(),
            comment_id: case.comment_id,
            revision_id: case.revision_id,
            reason: "spam".into(),
            ..Default::default()
        };
        let answer = self.moderation().reject_revision(request).await.unwrap().into_inner();
        self.heard(&answer.position).await;
    }
}

/// An id that nothing has.
pub fn unknown() -> String {
    uuid::Uuid::now_v7().to_string()
}

pub fn create(post_id: &str, body: &str) -> CreateCommentRequest {
    let (site, post_id, body) = (SITE.into(), post_id.into(), body.into());
    CreateCommentRequest { site, post_id, body, ..Default::default() }
}

pub fn reply(parent: &Comment, body: &str) -> CreateCommentRequest {
    let parent_id = parent.comment_id.clone();
    CreateCommentRequest { parent_id, ..create(&parent.post_id, body) }
}

pub fn get(comment_id: &str) -> GetCommentRequest {
    let (site, comment_id) = (SITE.into(), comment_id.into());
    GetCommentRequest { site, comment_id, ..Default::default() }
}

pub fn list(post_id: &str, page_size: i32, page_token: &str) -> ListCommentsRequest {
    ListCommentsRequest {
        site: SITE.into(),
        post_id: post_id.into(),
        page_size,
        page_token: page_token.into(),
        ..Default::default()
    }
}

pub fn update(comment_id: &str, body: &str) -> UpdateCommentRequest {
    let (site, comment_id, body) = (SITE.into(), comment_id.into(), body.into());
    UpdateCommentRequest { site, comment_id, body, ..Default::default() }
}

pub fn delete(comment_id: &str) -> DeleteCommentRequest {
    let (site, comment_id) = (SITE.into(), comment_id.into());
    DeleteCommentRequest { site, comment_id, ..Default::default() }
}

/// Has a comment created, and returns it.
pub async fn created(client: &mut Client, request: CreateCommentRequest) -> Comment {
    client.create_comment(request).await.unwrap().into_inner().comment.unwrap()
}

/// A comment as the caller sees it now.
pub async fn current(client: &mut Client, comment_id: &str) -> Comment {
    client.get_comment(get(comment_id)).await.unwrap().into_inner().comment.unwrap()
}

/// The whole list of a post's comments that the caller sees, in pages of this size.
pub async fn all_pages(client: &mut Client, post_id: &str, page_size: i32) -> Vec<Comment> {
    let (mut comments, mut token) = (Vec::new(), String::new());
    loop {
        let request = list(post_id, page_size, &token);
        let page = client.list_comments(request).await.unwrap().into_inner();
        assert!(page.comments.len() <= page_size as usize);
        assert!(!page.comments.is_empty() || page.next_page_token.is_empty());
        comments.extend(page.comments);
        token = page.next_page_token;
        if token.is_empty() {
            return comments;
        }
    }
}

/// Up to where a position includes the events of comments.
pub fn own(position: &str) -> u64 {
    position.parse::<Position>().unwrap().get(Source::Comment).0
}

/// The texts of all comments of a post that the caller sees.
pub async fn bodies(client: &mut Client, post_id: &str) -> Vec<String> {
    all_pages(client, post_id, 50).await.into_iter().map(|comment| comment.body).collect()
}
