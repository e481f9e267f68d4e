use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use agora_proto::post::v1::{
    ClosePostRequest, ClosePostResponse, CreatePostRequest, CreatePostResponse, DeletePostRequest,
    DeletePostResponse, GetPostRequest, GetPostResponse, ListPostsRequest, ListPostsResponse, Post,
    ReopenPostRequest, ReopenPostResponse, UpdatePostRequest, UpdatePostResponse,
    post_service_client::PostServiceClient,
    post_service_server::{PostService, PostServiceServer},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::{Instant, timeout},
};
use tonic::{Request, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    Call, Error, Host, Running,
    auth::{
        Role,
        token::{Claims, KeyPair, generate_key, sign},
    },
    config,
    error::status,
    host::MAX_RESPONSE_BYTES,
};

/// More than anything here takes, however slow the machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A post service that does as the request's site says.
#[derive(Clone, Default)]
pub(super) struct Stub {
    /// Rung when a request for the site `slow` has arrived; such a one is never answered.
    pub(super) arrived: Arc<Notify>,
    /// The calls that came.
    pub(super) calls: Arc<Mutex<Vec<Call>>>,
}

#[tonic::async_trait]
impl PostService for Stub {
    async fn list_posts(
        &self,
        request: Request<ListPostsRequest>,
    ) -> Result<Response<ListPostsResponse>, Status> {
        let (call, message) = Call::open(request);
        self.calls.lock().unwrap().push(call);
        match message.site.as_str() {
            "slow" => {
                self.arrived.notify_one();
                std::future::pending().await
            }
            "panic" => panic!("as asked"),
            "bare" => Err(Status::aborted("without details")),
            "big" => {
                let body = "x".repeat(MAX_RESPONSE_BYTES);
                let posts = vec![Post { body, ..Post::default() }];
                Ok(Response::new(ListPostsResponse { posts, ..Default::default() }))
            }
            _ => Ok(Response::new(ListPostsResponse::default())),
        }
    }

    async fn create_post(
        &self,
        request: Request<CreatePostRequest>,
    ) -> Result<Response<CreatePostResponse>, Status> {
        let (call, message) = Call::open(request);
        let site = message.site.parse().map_err(|_| status(Error::invalid("site", "is none")))?;
        let size = message.body.len();
        let origin = call.origin(site, None, size).map_err(status)?;
        let post = Post { author_id: origin.actor, ..Post::default() };
        Ok(Response::new(CreatePostResponse { post: Some(post), ..Default::default() }))
    }

    async fn get_post(
        &self,
        _: Request<GetPostRequest>,
    ) -> Result<Response<GetPostResponse>, Status> {
        Ok(Response::new(GetPostResponse::default()))
    }

    async fn update_post(
        &self,
        _: Request<UpdatePostRequest>,
    ) -> Result<Response<UpdatePostResponse>, Status> {
        Ok(Response::new(UpdatePostResponse::default()))
    }

    async fn delete_post(
        &self,
        _: Request<DeletePostRequest>,
    ) -> Result<Response<DeletePostResponse>, Status> {
        Ok(Response::new(DeletePostResponse::default()))
    }

    async fn close_post(
        &self,
        _: Request<ClosePostRequest>,
    ) -> Result<Response<ClosePostResponse>, Status> {
        Ok(Response::new(ClosePostResponse::default()))
    }

    async fn reopen_post(
        &self,
        _: Request<ReopenPostRequest>,
    ) -> Result<Response<ReopenPostResponse>, Status> {
        Ok(Response::new(ReopenPostResponse::default()))
    }
}

/// A configuration that listens on free ports, believes a key, and has no NATS.
pub(super) struct Fixture {
    pub(super) config: config::Host,
    pub(super) key: KeyPair,
    pub(super) stub: Stub,
    _folder: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = generate_key().unwrap();
        let path = folder.path().join("public.pem");
        fs::write(&path, &key.public_pem).unwrap();
        let mut config = config::Host::default();
        config.installation.name = Some("test".into());
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.http_listen = "127.0.0.1:0".parse().unwrap();
        // Nobody listens on port 1: the process goes on without NATS.
        config.nats.url = "nats://127.0.0.1:1".into();
        config.auth.public_keys.push(path);
        Self { config, key, stub: Stub::default(), _folder: folder }
    }

    pub(super) async fn host(&self) -> Host {
        let mut host = Host::open(&self.config, "test").await.unwrap();
        let service = PostServiceServer::new(self.stub.clone())
            .max_decoding_message_size(host.max_request_bytes())
            .max_encoding_message_size(MAX_RESPONSE_BYTES);
        host.add_service(service);
        host
    }

    pub(super) async fn serve(&self) -> Running {
        self.host().await.serve().await.unwrap()
    }

    pub(super) fn token(&self, site: &str, role: Role) -> String {
        let claims = Claims {
            subject: "ada".into(),
            name: "Ada".into(),
            roles: BTreeMap::from([(site.into(), [role].into())]),
            lifetime: Duration::from_secs(60),
        };
        sign(&self.key.private_pem, &claims, "agora", "agora").unwrap()
    }
}

pub(super) async fn channel(running: &Running) -> Channel {
    let address = format!("http://{}", running.grpc_address());
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

pub(super) async fn client(running: &Running) -> PostServiceClient<Channel> {
    PostServiceClient::new(channel(running).await).max_decoding_message_size(2 * MAX_RESPONSE_BYTES)
}

pub(super) fn list(site: &str) -> ListPostsRequest {
    ListPostsRequest { site: site.into(), ..ListPostsRequest::default() }
}

pub(super) fn create(site: &str, token: Option<&str>) -> Request<CreatePostRequest> {
    let message = CreatePostRequest { site: site.into(), ..CreatePostRequest::default() };
    with_token(message, token)
}

pub(super) fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// The reason of an error; every error has one.
pub(super) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "agora");
    info.reason
}

/// The answer to a request in HTTP/1, as a text with the bytes of its body made
/// readable.
pub(super) async fn http(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{head}\r\nConnection: close\r\nContent-Length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    timeout(PATIENCE, asking).await.unwrap()
}

/// Asks until the answer is the wanted one.
pub(super) async fn eventually(
    what: &str,
    mut ask: impl AsyncFnMut() -> String,
    wanted: impl Fn(&str) -> bool,
) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: {answer}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
