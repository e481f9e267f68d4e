use agora_proto::{
    admin::v1::dead_letter_service_client::DeadLetterServiceClient,
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
use eventstore::{Registry, testing::Place};

pub const SITE: &str = "blog";

pub type Client = ModerationServiceClient<Connection>;
pub type Letters = DeadLetterServiceClient<Connection>;

/// What the databases of a fixture are in.
#[derive(Clone, Copy)]
pub enum Kind {
    Files,
    Schemas,
}

impl Kind {
    async fn place(self, name: &str) -> Place {
        match self {
            Self::Files => Place::file(name),
            Self::Schemas => Place::schema().await,
        }
    }
}

/// Post, comment and moderation service in one process.
pub struct Fixture {
    running: Option<Running>,
    nats: Nats,
    tokens: Tokens,
    kind: Kind,
    post: Place,
    comment: Place,
    moderation: Place,
}

impl Fixture {
    pub async fn start(kind: Kind) -> Self {
        let mut fixture = Self {
            running: None,
            nats: Nats::start().await,
            tokens: Tokens::new(),
            kind,
            post: kind.place("post").await,
            comment: kind.place("comment").await,
            moderation: kind.place("moderation").await,
        };
        fixture.start_again().await;
        fixture
    }

    pub async fn start_again(&mut self) {
        let secret = Some("the same secret for all services".into());
        let server = config::Server { secret, ..testing::server() };
        let nats = config::Nats { url: self.nats.url(), ..Default::default() };
        let auth = self.tokens.auth();
        let common = config::Host {
            server,
            installation: testing::installation(),
            nats: nats.clone(),
            auth,
            telemetry: config::Telemetry::default(),
        };
        let mut host = Host::open(&common, "test").await.unwrap();
        let post = agora_post::Config {
            nats: nats.clone(),
            database: self.post.settings.clone(),
            ..Default::default()
        };
        let comment = agora_comment::Config {
            nats: nats.clone(),
            database: self.comment.settings.clone(),
            post_service: agora_comment::PostService {
                url: format!("http://{}", host.grpc_address()),
                ..Default::default()
            },
            ..Default::default()
        };
        let moderation = agora_moderation::Config {
            nats,
            database: self.moderation.settings.clone(),
            ..Default::default()
        };
        let mut registry = Registry::new(&config::Owners::default()).unwrap();
        agora_post::mount(&mut host, &mut registry, &post).await.unwrap();
        agora_comment::mount(&mut host, &mut registry, &comment).await.unwrap();
        agora_moderation::mount(&mut host, &mut registry, &moderation).await.unwrap();
        self.running = Some(registry.serve(host).await.unwrap());
    }

    pub async fn stop(&mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }

    /// Gives moderation an empty database, as long as it is stopped.
    pub async fn lose_database(&mut self) {
        self.moderation = self.kind.place("moderation").await;
    }

    /// `[database]` of the comment service.
    pub fn comment_database(&self) -> &config::Database {
        &self.comment.settings
    }

    /// `[database]` of the moderation service.
    pub fn moderation_database(&self) -> &config::Database {
        &self.moderation.settings
    }

    fn connection(&self, user: &str, role: Role) -> Connection {
        self.connection_on(SITE, user, role)
    }

    fn connection_on(&self, site: &str, user: &str, role: Role) -> Connection {
        let token = self.tokens.token(user, &[(site, role)]);
        connect(self.running.as_ref().unwrap().grpc_address(), Some(&token))
    }

    /// The dead letters, for an operator.
    pub fn letters(&self, user: &str) -> Letters {
        Letters::new(self.connection_on("*", user, Role::Operator))
    }

    /// The dead letters, for somebody with this role on every site.
    pub fn letters_as(&self, role: Role) -> Letters {
        Letters::new(self.connection_on("*", "ada", role))
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
