use agora_proto::{
    comment::v1::{CreateCommentRequest, comment_service_client::CommentServiceClient},
    moderation::v1::{Case, GetCaseRequest, moderation_service_client::ModerationServiceClient},
    post::v1::{CreatePostRequest, post_service_client::PostServiceClient},
};
use chassis::{
    Host, Running,
    auth::Role,
    config,
    testing::{self, Connection, Nats, Tokens, connect, eventually},
};
use tempfile::TempDir;

pub const SITE: &str = "blog";

pub type Client = ModerationServiceClient<Connection>;

/// Post, comment and moderation service in one process.
pub struct Fixture {
    running: Option<Running>,
    nats: Nats,
    tokens: Tokens,
    folder: TempDir,
}

impl Fixture {
    pub async fn start() -> Self {
        let (nats, tokens, folder) = (Nats::start().await, Tokens::new(), TempDir::new().unwrap());
        let mut fixture = Self { running: None, nats, tokens, folder };
        fixture.start_again().await;
        fixture
    }

    pub async fn start_again(&mut self) {
        let server = testing::server();
        let nats = config::Nats { url: self.nats.url(), ..Default::default() };
        let auth = self.tokens.auth();
        let database = |file: &str| config::Database {
            path: self.folder.path().join(file),
            ..Default::default()
        };
        let common = config::Host {
            server,
            nats: nats.clone(),
            auth,
            telemetry: config::Telemetry::default(),
        };
        let mut host = Host::open(&common, "test").await.unwrap();
        let post = agora_post::Config {
            nats: nats.clone(),
            database: database("post.db"),
            ..Default::default()
        };
        let comment = agora_comment::Config {
            nats: nats.clone(),
            database: database("comment.db"),
            post_service: agora_comment::PostService {
                url: format!("http://{}", host.grpc_address()),
                ..Default::default()
            },
            ..Default::default()
        };
        let moderation = agora_moderation::Config {
            nats,
            database: database("moderation.db"),
            ..Default::default()
        };
        agora_post::mount(&mut host, &post).await.unwrap();
        agora_comment::mount(&mut host, &comment).await.unwrap();
        agora_moderation::mount(&mut host, &moderation).await.unwrap();
        self.running = Some(host.serve().await.unwrap());
    }

    pub async fn stop(&mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }

    /// Takes the service's database away, as long as it is stopped.
    pub fn lose_database(&self) {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(self.folder.path().join(format!("moderation.db{suffix}"))).ok();
        }
    }

    fn connection(&self, user: &str, role: Role) -> Connection {
        let token = self.tokens.token(user, &[(SITE, role)]);
        connect(self.running.as_ref().unwrap().grpc_address(), Some(&token))
    }

    pub fn moderator(&self, user: &str) -> Client {
        Client::new(self.connection(user, Role::Moderator))
    }

    pub fn comments(&self) -> CommentServiceClient<Connection> {
        CommentServiceClient::new(self.connection("ada", Role::Author))
    }

    /// A comment that the default policy holds, once it is judged.
    pub async fn held_comment(&self) -> Case {
        self.comment("please SUBSCRIBE to my channel").await
    }

    /// A comment on a post of its own, once it is judged.
    pub async fn comment(&self, body: &str) -> Case {
        let mut posts = PostServiceClient::new(self.connection("ada", Role::Author));
        let request =
            CreatePostRequest { site: SITE.into(), title: "a post".into(), ..Default::default() };
        let post = posts.create_post(request).await.unwrap().into_inner().post.unwrap();
        let request = CreateCommentRequest {
            site: SITE.into(),
            post_id: post.post_id,
            body: body.into(),
            ..Default::default()
        };
        let comment = self.comments().create_comment(request).await.unwrap().into_inner();
        self.case(&comment.comment.unwrap().comment_id, 1).await
    }

    /// A comment's case, once its revision is judged.
    pub async fn case(&self, comment_id: &str, revision: u32) -> Case {
        let mut moderation = self.moderator("mod");
        eventually("the revision to be judged", async || {
            let request = GetCaseRequest {
                site: SITE.into(),
                comment_id: comment_id.into(),
                ..Default::default()
            };
            let answer = moderation.get_case(request).await.ok()?.into_inner();
            answer
                .moderation_case
                .filter(|case| case.revision == revision && case.decision.is_some())
        })
        .await
    }
}
