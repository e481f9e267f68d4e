use agora_post::Config;
use agora_proto::post::v1::{
    ClosePostRequest, CreatePostRequest, DeletePostRequest, GetPostRequest, ListPostsRequest, Post,
    ReopenPostRequest, UpdatePostRequest, get_post_request::Key,
    post_service_client::PostServiceClient,
};
use chassis::{
    Running,
    auth::Role,
    config,
    testing::{self, Connection, Nats, Tokens, connect},
};
use prost_types::FieldMask;
use tempfile::TempDir;

/// The site that requests are for.
pub const SITE: &str = "blog";

pub type Client = PostServiceClient<Connection>;

/// A post service with a database and a NATS of its own.
pub struct Fixture {
    running: Option<Running>,
    pub config: Config,
    pub nats: Nats,
    pub tokens: Tokens,
    pub folder: TempDir,
}

impl Fixture {
    pub async fn start() -> Self {
        let (nats, tokens, folder) = (Nats::start().await, Tokens::new(), TempDir::new().unwrap());
        let config = Config {
            server: testing::server(),
            installation: testing::installation(),
            nats: config::Nats { url: nats.url(), ..Default::default() },
            auth: tokens.auth(),
            database: config::Database {
                path: folder.path().join("post.db"),
                ..Default::default()
            },
            ..Default::default()
        };
        let running = Some(agora_post::start(config.clone()).await.unwrap());
        Self { running, config, nats, tokens, folder }
    }

    pub async fn stop(&mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }

    /// Starts the service again, on a new port: clients are to be made anew.
    pub async fn start_again(&mut self) {
        self.running = Some(agora_post::start(self.config.clone()).await.unwrap());
    }

    /// A user with a role on [`SITE`].
    pub fn client(&self, user: &str, role: Role) -> Client {
        self.client_with(&self.tokens.token(user, &[(SITE, role)]))
    }

    /// A user with a role on every site.
    pub fn client_everywhere(&self, user: &str, role: Role) -> Client {
        self.client_with(&self.tokens.token(user, &[("*", role)]))
    }

    pub fn client_with(&self, token: &str) -> Client {
        PostServiceClient::new(self.connection(Some(token)))
    }

    pub fn anonymous(&self) -> Client {
        PostServiceClient::new(self.connection(None))
    }

    pub fn connection(&self, token: Option<&str>) -> Connection {
        connect(self.running.as_ref().unwrap().grpc_address(), token)
    }
}

pub fn create(title: &str) -> CreatePostRequest {
    CreatePostRequest {
        site: SITE.into(),
        title: title.into(),
        body: "a body".into(),
        ..Default::default()
    }
}

pub fn create_with_key(key: &str) -> CreatePostRequest {
    CreatePostRequest { external_key: key.into(), ..create("keyed") }
}

pub fn get(post_id: &str) -> GetPostRequest {
    let key = Some(Key::PostId(post_id.into()));
    GetPostRequest { site: SITE.into(), key, ..Default::default() }
}

pub fn find(external_key: &str) -> GetPostRequest {
    let key = Some(Key::ExternalKey(external_key.into()));
    GetPostRequest { site: SITE.into(), key, ..Default::default() }
}

pub fn list(page_size: i32, page_token: &str) -> ListPostsRequest {
    let page_token = page_token.into();
    ListPostsRequest { site: SITE.into(), page_size, page_token, ..Default::default() }
}

pub fn retitle(post_id: &str, title: &str) -> UpdatePostRequest {
    UpdatePostRequest {
        site: SITE.into(),
        post_id: post_id.into(),
        title: title.into(),
        ..Default::default()
    }
}

pub fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).into()).collect() })
}

pub fn delete(post_id: &str) -> DeletePostRequest {
    DeletePostRequest { site: SITE.into(), post_id: post_id.into(), ..Default::default() }
}

pub fn close(post_id: &str) -> ClosePostRequest {
    ClosePostRequest { site: SITE.into(), post_id: post_id.into(), ..Default::default() }
}

pub fn reopen(post_id: &str) -> ReopenPostRequest {
    ReopenPostRequest { site: SITE.into(), post_id: post_id.into(), ..Default::default() }
}

/// Has a post created, and returns it.
pub async fn created(client: &mut Client, title: &str) -> Post {
    client.create_post(create(title)).await.unwrap().into_inner().post.unwrap()
}

/// A post as it is now.
pub async fn current(client: &mut Client, post_id: &str) -> Post {
    client.get_post(get(post_id)).await.unwrap().into_inner().post.unwrap()
}

/// The whole list of the site's posts, in pages of this size.
pub async fn all_pages(client: &mut Client, page_size: i32) -> Vec<Post> {
    let (mut posts, mut token): (Vec<Post>, _) = (Vec::new(), String::new());
    loop {
        let page = client.list_posts(list(page_size, &token)).await.unwrap().into_inner();
        assert!(page.posts.len() <= page_size as usize);
        assert!(page.posts.iter().all(|post| !posts.contains(post)), "a list goes in circles");
        posts.extend(page.posts);
        token = page.next_page_token;
        if token.is_empty() {
            return posts;
        }
    }
}
