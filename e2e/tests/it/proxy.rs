//! From outside: gRPC, gRPC-Web and a watch through real proxies, which are set up as what
//! stands in `deploy/kubernetes/` says.

mod envoy;
mod nginx;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use agora_proto::{
    comment::v1::CreateCommentRequest,
    post::v1::{GetPostRequest, get_post_request::Key},
    query::v1::{GetThreadRequest, ListFeedRequest, get_thread_request::Post},
};
use e2e::{Client, Process, Result, Role, Service, System, wait_until};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::timeout,
};
use tonic::{Code, Streaming, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::write::{SITE, create_post};

/// By how much every time here is shorter than it is for users.
const SHORTENED: u64 = 60;
/// What is watched: Agora's own services for clients have no watch.
const WATCHED: &str = "/grpc.health.v1.Health/";

/// A running proxy.
struct Proxy {
    process: Process,
    /// The port for clients of gRPC, HTTP/2.
    grpc: u16,
    /// For browsers, HTTP/1.1.
    web: u16,
    /// For both, with TLS.
    tls: u16,
    certificate: Certificate,
    /// For watches, HTTP/2.
    watch: u16,
    /// HTTP/2, where the proxy was told nothing of time-outs.
    untold: u16,
    /// How long a watch is silent there.
    silence: Duration,
}

impl Proxy {
    /// Waits until it listens.
    async fn ready(self) -> Result<Self> {
        let listens = async || TcpStream::connect(("127.0.0.1", self.grpc)).await.is_ok();
        match wait_until("the proxy", listens).await {
            Ok(()) => Ok(self),
            Err(error) => Err(format!("{error}: {}", self.process.output()).into()),
        }
    }
}

/// What a proxy shows of itself, and callers believe: in production cert-manager's.
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn make(folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        fs::write(&chain, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        Ok(Self { chain, key })
    }
}

/// The service that a rule of a manifest leads to.
fn backend(rule: &str) -> Result<Service> {
    let name = rule.split("name: agora-").nth(1).unwrap_or_default();
    let service = Service::ALL.into_iter().find(|service| name.starts_with(service.as_str()));
    Ok(service.ok_or("a rule leads to no service")?)
}

/// A caller that knows nothing but the proxy.
fn outside(system: &System, proxy: &Proxy, user: &str) -> Result<Client> {
    let mut addresses = system.addresses();
    let address = vec![format!("http://127.0.0.1:{}", proxy.grpc)];
    addresses.post = address.clone();
    addresses.comment = address.clone();
    addresses.moderation = address.clone();
    addresses.query = address;
    Client::new(&addresses, Some(&system.token(user, Role::Author)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_and_grpc_web_pass_nginx() -> Result {
    let system = System::start().await?;
    let Some(nginx) = nginx::start(&system).await? else { return Ok(()) };
    grpc_reaches_each_service(&system, &nginx).await?;
    grpc_web_comes_the_same_way(&system, &nginx).await?;

    // Who sends more than any service takes is not listened to.
    let refused = ask(
        nginx.web,
        b"POST /agora.post.v1.PostService/CreatePost HTTP/1.1\r\nHost: localhost\r\n\
          Content-Type: application/grpc-web+proto\r\nConnection: close\r\n\
          Content-Length: 3000000\r\n\r\n",
    )
    .await?;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_and_grpc_web_pass_envoy() -> Result {
    let system = System::start().await?;
    let Some(envoy) = envoy::start(&system).await? else { return Ok(()) };
    grpc_reaches_each_service(&system, &envoy).await?;
    grpc_web_comes_the_same_way(&system, &envoy).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_watch_lives_behind_nginx() -> Result {
    let system = System::start().await?;
    let Some(nginx) = nginx::start(&system).await? else { return Ok(()) };
    a_watch_lives_though_it_is_silent(system, &nginx).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_watch_lives_behind_envoy() -> Result {
    let system = System::start().await?;
    let Some(envoy) = envoy::start(&system).await? else { return Ok(()) };
    a_watch_lives_though_it_is_silent(system, &envoy).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_passes_nginx() -> Result {
    let system = System::start().await?;
    let Some(nginx) = nginx::start(&system).await? else { return Ok(()) };
    grpcurl_passes(&system, &nginx).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_passes_envoy() -> Result {
    let system = System::start().await?;
    let Some(envoy) = envoy::start(&system).await? else { return Ok(()) };
    grpcurl_passes(&system, &envoy).await
}

async fn grpc_reaches_each_service(system: &System, proxy: &Proxy) -> Result {
    let mut ada = outside(system, proxy, "ada")?;

    let post_id = create_post(&mut ada, "from outside").await?;
    let comment = |body: String| CreateCommentRequest {
        site: SITE.into(),
        post_id: post_id.clone(),
        body,
        ..Default::default()
    };
    let created = ada.comment.create_comment(comment("Well said.".into())).await?.into_inner();
    let comment_id = created.comment.unwrap().comment_id;
    wait_until("the comment to be seen from outside", async || {
        let post = Some(Post::PostId(post_id.clone()));
        let request = GetThreadRequest { site: SITE.into(), post, ..Default::default() };
        let thread = ada.query.clone().get_thread(request).await;
        thread.is_ok_and(|thread| {
            thread.into_inner().comments.iter().any(|comment| comment.comment_id == comment_id)
        })
    })
    .await?;

    // Errors keep what they say.
    let key = Some(Key::PostId(uuid::Uuid::now_v7().to_string()));
    let request = GetPostRequest { site: SITE.into(), key, ..Default::default() };
    let refused = ada.post.get_post(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "POST_NOT_FOUND");

    // As much as a service takes reaches it, to be judged there.
    let refused = ada.comment.create_comment(comment("x".repeat(1_048_000))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.get_error_details().bad_request().is_some(), "{refused}");

    // What is for operators stays inside.
    let request = agora_proto::admin::v1::GetJournalHeadRequest { source: 1 };
    let refused = ada.journals.post.get_journal_head(request).await.unwrap_err();
    let is_unknown = refused.code() == Code::Unimplemented || refused.message().contains("404");
    assert!(is_unknown, "{refused}");
    Ok(())
}

async fn grpc_web_comes_the_same_way(system: &System, proxy: &Proxy) -> Result {
    create_post(&mut outside(system, proxy, "ada")?, "for browsers").await?;

    let request = ListFeedRequest { site: SITE.into(), ..Default::default() }.encode_to_vec();
    let length = u32::try_from(request.len())?.to_be_bytes();
    let framed = [&[0], &length[..], &request].concat();
    wait_until("a browser to see the post", async || {
        let head = format!(
            "POST /agora.query.v1.QueryService/ListFeed HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            framed.len()
        );
        let answer = ask(proxy.web, &[head.as_bytes(), &framed].concat()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("application/grpc-web"), "{answer}");
        // The trailers are in the body, which is all that HTTP/1.1 and browsers have.
        answer.contains("grpc-status:0") && answer.contains("for browsers")
    })
    .await?;

    let asked = ask(
        proxy.web,
        b"OPTIONS /agora.query.v1.QueryService/ListFeed HTTP/1.1\r\nHost: localhost\r\n\
          Origin: https://www.example.org\r\nAccess-Control-Request-Method: POST\r\n\
          Access-Control-Request-Headers: content-type,x-grpc-web\r\nConnection: close\r\n\r\n",
    )
    .await?;
    assert!(asked.starts_with("HTTP/1.1 200"), "{asked}");
    assert!(asked.to_lowercase().contains("access-control-allow-methods: post"), "{asked}");
    Ok(())
}

/// As the chart's notes tell to call it.
async fn grpcurl_passes(system: &System, proxy: &Proxy) -> Result {
    let Ok(grpcurl) = std::env::var("AGORA_GRPCURL") else {
        eprintln!("no grpcurl, so it is not tried: `./dev test` finds or builds one");
        return Ok(());
    };
    let authorization = format!("authorization: Bearer {}", system.token("ada", Role::Author)?);
    let call = async |service: &str, method: &str, request: Value| -> Result<_> {
        let output = Command::new(&grpcurl)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .arg("-cacert")
            .arg(&proxy.certificate.chain)
            .args(["-import-path", "proto"])
            .args(["-proto", &format!("agora/{service}/v1/{service}.proto")])
            .args(["-H", &authorization, "-d", &request.to_string()])
            .args([&format!("localhost:{}", proxy.tls), method])
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer = serde_json::from_slice::<Value>(&output.stdout);
        Ok(if output.status.success() { Ok(answer?) } else { Err(said) })
    };

    let post = json!({"site": SITE, "title": "from a terminal", "body": "typed"});
    let created = call("post", "agora.post.v1.PostService/CreatePost", post).await?;
    let post_id = created?["post"]["postId"].clone();
    let comment = json!({"site": SITE, "post_id": post_id, "body": "Well said."});
    call("comment", "agora.comment.v1.CommentService/CreateComment", comment).await??;
    wait_until("grpcurl to see the comment", async || {
        let request = json!({"site": SITE, "post_id": post_id});
        let thread = call("query", "agora.query.v1.QueryService/GetThread", request).await.unwrap();
        thread.unwrap()["comments"][0]["body"] == "Well said."
    })
    .await?;

    // It shows details only of types that the protos name; the message says it, too.
    let post = json!({"site": SITE, "title": "", "body": "typed"});
    let refused = call("post", "agora.post.v1.PostService/CreatePost", post).await?.unwrap_err();
    assert!(refused.contains("Code: InvalidArgument"), "{refused}");
    assert!(refused.contains("title must not be empty"), "{refused}");
    Ok(())
}

/// Sends a request and returns the whole answer.
async fn ask(port: u16, request: &[u8]) -> Result<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    connection.write_all(request).await?;
    let mut answer = Vec::new();
    timeout(Duration::from_secs(10), connection.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn a_watch_lives_though_it_is_silent(mut system: System, proxy: &Proxy) -> Result {
    let mut told = watch(proxy.watch).await?;
    let mut untold = watch(proxy.untold).await?;

    // By itself the proxy cuts a silent one; else this would not notice if it were told nothing.
    let cut = timeout(proxy.silence, untold.message()).await;
    let is_cut = !matches!(cut, Err(_) | Ok(Ok(Some(_))));
    assert!(is_cut, "no silent watch is cut, so this tests nothing: {cut:?}");
    let silent = timeout(proxy.silence, told.message()).await;
    assert!(silent.is_err(), "the watch said something or ended: {silent:?}");

    system.process(Service::Query).stop().await?;
    // Which of both comes first is as it happens.
    match timeout(Duration::from_secs(10), told.message()).await? {
        Ok(heard) => assert_eq!(heard.unwrap().status(), ServingStatus::NotServing),
        Err(ended) => {
            let reason = ended.get_error_details().error_info().map(|info| info.reason.clone());
            assert_eq!(reason.as_deref(), Some("SHUTTING_DOWN"), "{ended}");
        }
    }
    Ok(())
}

/// Watches the health of query, and hears that it is well.
async fn watch(port: u16) -> Result<Streaming<HealthCheckResponse>> {
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.connect().await?;
    let request = HealthCheckRequest { service: String::new() };
    let mut answers = HealthClient::new(channel).watch(request).await?.into_inner();
    let first = answers.message().await?.unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    Ok(answers)
}
