//! From outside: gRPC, gRPC-Web and a watch through a real nginx that is set up as
//! `deploy/kubernetes/ingress.yaml` has Ingress NGINX set it up.

use std::{fs, path::Path, time::Duration};

use agora_proto::{
    comment::v1::CreateCommentRequest,
    post::v1::{GetPostRequest, get_post_request::Key},
    query::v1::{GetThreadRequest, ListFeedRequest, get_thread_request::Post},
};
use e2e::{Client, Process, Result, Role, Service, System, free_port, wait_until};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Streaming, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::write::{SITE, create_post};

/// By how much every time here is shorter than in the Ingress.
const SHORTENED: u64 = 60;
/// How long a watch is silent: five minutes.
const SILENCE: Duration = Duration::from_secs(5 * 60 / SHORTENED);
/// How long nginx lets an answer be silent unless it is told, in seconds.
const UNTOLD: u64 = 60;

/// What the Ingress says.
struct Ingress {
    manifest: String,
    /// A path for each service.
    paths: Vec<(String, Service)>,
}

impl Ingress {
    fn read() -> Result<Self> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/ingress.yaml");
        let manifest = fs::read_to_string(file)?;
        let mut paths = Vec::new();
        for rule in manifest.split("- path: ").skip(1) {
            let path = rule.lines().next().unwrap_or_default();
            let backend = rule.split("name: agora-").nth(1).unwrap_or_default();
            let name = backend.lines().next().unwrap_or_default();
            let service = Service::ALL.into_iter().find(|service| service.as_str() == name);
            paths.push((path.to_owned(), service.ok_or("a path leads to no service")?));
        }
        assert_eq!(paths.len(), Service::ALL.len());
        Ok(Self { manifest, paths })
    }

    fn annotation(&self, name: &str) -> Result<&str> {
        let key = format!("nginx.ingress.kubernetes.io/{name}: ");
        let value = self.manifest.split(&key).nth(1).and_then(|rest| rest.lines().next());
        Ok(value.ok_or_else(|| format!("the Ingress has no {name}"))?.trim_matches('"'))
    }
}

/// A running nginx.
struct Nginx {
    _process: Process,
    /// HTTP/2, as clients of gRPC speak it.
    grpc: u16,
    /// HTTP/1.1.
    web: u16,
    /// HTTP/2, by an Ingress that says nothing of time-outs.
    untold: u16,
}

impl Nginx {
    /// Starts one before a system; none if there is no nginx here.
    async fn start(system: &System) -> Result<Option<Self>> {
        let Ok(program) = std::env::var("AGORA_NGINX") else {
            eprintln!("no nginx, so no proxy is tried: `./dev test` finds or fetches one");
            return Ok(None);
        };
        let ingress = Ingress::read()?;
        let [grpc, web, untold] = [free_port()?, free_port()?, free_port()?];
        let folder = system.folder().join("nginx");
        fs::create_dir(&folder)?;
        let configuration = folder.join("nginx.conf");
        let at = folder.display();
        let told = locations(system, &ingress, ingress.annotation("proxy-read-timeout")?.parse()?)?;
        let not_told = locations(system, &ingress, UNTOLD)?;
        let text = format!(
            "daemon off; worker_processes 1; pid {at}/pid; error_log stderr;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off;\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
             fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
             server {{ listen 127.0.0.1:{grpc} http2; listen 127.0.0.1:{web};\n{told}}}\n\
             server {{ listen 127.0.0.1:{untold} http2;\n{not_told}}} }}\n"
        );
        fs::write(&configuration, text)?;
        let arguments = ["-e", "stderr", "-c", configuration.to_str().ok_or("not UTF-8")?];
        let log = folder.join("log");
        let process = Process::start(Path::new(&program), &arguments, &[], &log)?;
        let ready = async || TcpStream::connect(("127.0.0.1", grpc)).await.is_ok();
        if let Err(error) = wait_until("nginx", ready).await {
            return Err(format!("{error}: {}", process.output()).into());
        }
        Ok(Some(Self { _process: process, grpc, web, untold }))
    }

    fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }
}

/// What the controller writes for each path.
fn locations(system: &System, ingress: &Ingress, timeout_s: u64) -> Result<String> {
    assert_eq!(ingress.annotation("backend-protocol")?, "GRPC");
    let size = ingress.annotation("proxy-body-size")?;
    let timeout = timeout_s / SHORTENED;
    // And one for a watch: Agora's own services for clients have none.
    let watch = ("/grpc.health.v1.Health/".to_owned(), Service::Query);
    let mut text = String::new();
    for (path, service) in ingress.paths.iter().chain([&watch]) {
        let addresses = system.addresses();
        let address = addresses.of(*service)[0].replace("http://", "grpc://");
        text += &format!(
            "location {path} {{ client_max_body_size {size}; grpc_set_header Host $host; \
             grpc_connect_timeout 5s; grpc_send_timeout {timeout}s; grpc_read_timeout {timeout}s; \
             grpc_pass {address}; }}\n"
        );
    }
    Ok(text)
}

/// A caller that knows nothing but the proxy.
fn outside(system: &System, nginx: &Nginx, user: &str) -> Result<Client> {
    let mut addresses = system.addresses();
    addresses.post = vec![nginx.grpc()];
    addresses.comment = vec![nginx.grpc()];
    addresses.moderation = vec![nginx.grpc()];
    addresses.query = vec![nginx.grpc()];
    Client::new(&addresses, Some(&system.token(user, Role::Author)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_reaches_each_service() -> Result {
    let system = System::start().await?;
    let Some(nginx) = Nginx::start(&system).await? else { return Ok(()) };
    let mut ada = outside(&system, &nginx, "ada")?;

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
    assert!(refused.message().contains("404"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_web_comes_the_same_way() -> Result {
    let system = System::start().await?;
    let Some(nginx) = Nginx::start(&system).await? else { return Ok(()) };
    create_post(&mut outside(&system, &nginx, "ada")?, "for browsers").await?;

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
        let answer = ask(nginx.web, &[head.as_bytes(), &framed].concat()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("application/grpc-web"), "{answer}");
        // The trailers are in the body, which is all that HTTP/1.1 and browsers have.
        answer.contains("grpc-status:0") && answer.contains("for browsers")
    })
    .await?;

    let asked = ask(
        nginx.web,
        b"OPTIONS /agora.query.v1.QueryService/ListFeed HTTP/1.1\r\nHost: localhost\r\n\
          Origin: https://www.example.org\r\nAccess-Control-Request-Method: POST\r\n\
          Access-Control-Request-Headers: content-type,x-grpc-web\r\nConnection: close\r\n\r\n",
    )
    .await?;
    assert!(asked.starts_with("HTTP/1.1 200"), "{asked}");
    assert!(asked.to_lowercase().contains("access-control-allow-methods: post"), "{asked}");

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

/// Sends a request and returns the whole answer.
async fn ask(port: u16, request: &[u8]) -> Result<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    connection.write_all(request).await?;
    let mut answer = Vec::new();
    timeout(Duration::from_secs(10), connection.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_lives_though_it_is_silent() -> Result {
    let mut system = System::start().await?;
    let Some(nginx) = Nginx::start(&system).await? else { return Ok(()) };
    let mut told = watch(nginx.grpc).await?;
    let mut untold = watch(nginx.untold).await?;

    // As nginx is by itself it cuts a silent one; so this would not be noticed to fail otherwise.
    let cut = timeout(SILENCE, untold.message()).await;
    assert!(cut.is_ok_and(|cut| cut.is_err()), "nginx cuts no silent watch: this tests nothing");
    let silent = timeout(SILENCE, told.message()).await;
    assert!(silent.is_err(), "the watch said or ended: {silent:?}");

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
