//! A new query replica starts from a snapshot of a peer's view, if that is of use.

use std::{fs, net::SocketAddr, path::PathBuf};

use agora_proto::{
    admin::v1::{
        DeadLetter, GetViewDigestRequest, GetViewDigestResponse, ListDeadLettersRequest,
        RebuildViewRequest, RebuildViewResponse, SnapshotHeader, SnapshotRequest, SnapshotResponse,
        snapshot_response::Part,
        view_service_server::{ViewService, ViewServiceServer},
    },
    post::v1::{ClosePostRequest, UpdatePostRequest},
};
use bus_schema::Source;
use e2e::{Another, Client, Result, Role, Service, Stranger, System, faults, program, wait_until};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::{net::TcpListener, process::Command, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::{
    check::{quiet, thread},
    write::{SITE, Writers, create_post},
};

const PEERS: &str = "AGORA_SNAPSHOT__PEERS";

/// A client of another query process.
fn client(system: &System, another: &Another) -> Result<Client> {
    let mut addresses = system.addresses();
    addresses.query = vec![another.url()];
    Client::new(&addresses, Some(&system.token("olga", Role::Operator)?))
}

async fn digest(client: &Client) -> Result<GetViewDigestResponse> {
    Ok(client.view.clone().get_view_digest(GetViewDigestRequest {}).await?.into_inner())
}

async fn origin(another: &Another) -> String {
    let metrics = another.metrics().await;
    let found = ["file", "snapshot", "streams"]
        .into_iter()
        .find(|origin| metrics.contains(&format!("agora_view_origin{{origin=\"{origin}\"}} 1")));
    found.unwrap_or("nowhere").to_owned()
}

/// Where a copy arrives.
fn fetched(another: &Another) -> PathBuf {
    another.database.with_extension("fetched")
}

/// A system with a post and some comments on it, of which the view has all.
async fn system() -> Result<(System, String)> {
    let system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "snapshot").await?;
    Writers::start(&system, &post, 2_000)?.finish().await?;
    quiet(&system).await?;
    Ok((system, post))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_starts_with_the_view_of_a_peer() -> Result {
    let (system, post) = system().await?;
    let operator = system.client("olga", Role::Operator)?;
    let before = digest(&operator).await?;
    let peers = system.addresses().query[0].clone();
    let mut another = system.another_query("another", &[(PEERS, peers)])?;
    another.ready().await?;
    assert_eq!(origin(&another).await, "snapshot", "it printed: {}", another.process.output());
    let client = client(&system, &another)?;
    assert_eq!(digest(&client).await?, before);
    assert!(!fetched(&another).exists());
    assert!(!system.database(Service::Query).with_extension("copied").exists());

    // Both go on from there.
    Writers::start(&system, &post, 200)?.finish().await?;
    quiet(&system).await?;
    let now = digest(&operator).await?;
    assert_ne!(now, before);
    wait_until("the new replica to have the same", || async {
        digest(&client).await.is_ok_and(|digest| digest == now)
    })
    .await?;
    let (one, other) = (thread(&operator, &post, false), thread(&client, &post, false));
    assert_eq!(one.await?.comments, other.await?.comments);
    let addresses = system.addresses();
    let verified = Command::new(program("agora")?)
        .args(["verify", "--token", &system.token("olga", Role::Operator)?])
        .args(["--nats-url", &system.nats.url(), "--post-server", &addresses.post[0]])
        .args(["--comment-server", &addresses.comment[0]])
        .args(["--moderation-server", &addresses.moderation[0]])
        .args(["--query-server", &another.url()])
        .output()
        .await?;
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && said.contains("all is equal"), "{verified:?}");

    // The next time it has a view of its own.
    another.process.kill().await?;
    another.process.restart()?;
    another.ready().await?;
    assert_eq!(origin(&another).await, "file");
    assert_eq!(digest(&client).await?, now);
    Ok(())
}

/// What is parked of the view comes with it: neither is an event lost, nor is one applied
/// that must wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_has_what_is_parked() -> Result {
    let (mut system, post) = system().await?;
    let post_id = post.parse()?;
    let poisoned = faults::append(&mut system, Source::Post, post_id, post_id).await?;
    system.ready(Service::Post).await?;
    let mut author = system.client("ada", Role::Author)?;
    let request = UpdatePostRequest {
        site: SITE.into(),
        post_id: post.clone(),
        title: "this waits".into(),
        ..Default::default()
    };
    author.post.update_post(request).await?;
    quiet(&system).await?;
    let operator = system.client("olga", Role::Operator)?;
    let parked = letters(&operator).await?;
    let numbers: Vec<u64> = parked.iter().map(|letter| letter.sequence).collect();
    assert_eq!(numbers, [poisoned.sequence.0, poisoned.sequence.0 + 1]);

    let peers = system.addresses().query[0].clone();
    let another = system.another_query("another", &[(PEERS, peers)])?;
    another.ready().await?;
    assert_eq!(origin(&another).await, "snapshot", "it printed: {}", another.process.output());
    let client = client(&system, &another)?;
    assert_eq!(letters(&client).await?, parked);
    assert_eq!(digest(&client).await?, digest(&operator).await?);
    // And what comes now waits behind it, here as there.
    let request = ClosePostRequest { site: SITE.into(), post_id: post, ..Default::default() };
    author.post.close_post(request).await?;
    for client in [&operator, &client] {
        wait_until("the next event to be parked", || async {
            letters(client).await.is_ok_and(|letters| letters.len() == parked.len() + 1)
        })
        .await?;
    }
    Ok(())
}

async fn letters(client: &Client) -> Result<Vec<DeadLetter>> {
    let request = ListDeadLettersRequest { service: "query".into() };
    let mut answers = client.letters.query.clone().list_dead_letters(request).await?.into_inner();
    let mut letters = Vec::new();
    while let Some(answer) = answers.message().await? {
        letters.extend(answer.dead_letters);
    }
    Ok(letters)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_snapshot_is_given_at_a_time() -> Result {
    let (system, _) = system().await?;
    let operator = system.client("olga", Role::Operator)?;
    // Nobody takes the messages of the first.
    let first = operator.view.clone().snapshot(SnapshotRequest {}).await?.into_inner();
    let refused = operator.view.clone().snapshot(SnapshotRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "SNAPSHOT_RUNNING");
    assert!(details.retry_info().unwrap().retry_delay.is_some());
    let author = system.client("ada", Role::Author)?;
    let refused = author.view.clone().snapshot(SnapshotRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused:?}");

    drop(first);
    wait_until("another one to be given", || async { snapshot(&operator).await.is_ok() }).await?;
    let copied = system.database(Service::Query).with_extension("copied");
    wait_until("the file to be gone", || async { !copied.exists() }).await
}

/// A snapshot as it is given.
async fn snapshot(client: &Client) -> Result<(SnapshotHeader, Vec<u8>)> {
    let mut messages = client.view.clone().snapshot(SnapshotRequest {}).await?.into_inner();
    let mut header = None;
    let mut bytes = Vec::new();
    while let Some(SnapshotResponse { part }) = messages.message().await? {
        match part {
            Some(Part::Header(sent)) => header = Some(sent),
            Some(Part::Data(data)) => bytes.extend(data),
            None => return Err("a part is empty".into()),
        }
    }
    Ok((header.ok_or("there is no header")?, bytes))
}

/// A peer that gives what it was told to give, and then perhaps says nothing more.
#[derive(Clone)]
struct Peer {
    header: SnapshotHeader,
    bytes: Vec<u8>,
    stalls: bool,
}

impl Peer {
    async fn start(self) -> Result<(SocketAddr, JoinHandle<()>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tonic::transport::Server::builder()
            .add_service(ViewServiceServer::new(self))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Ok((address, tokio::spawn(async move { server.await.unwrap() })))
    }
}

#[tonic::async_trait]
impl ViewService for Peer {
    type RebuildViewStream = BoxStream<'static, Result<RebuildViewResponse, Status>>;
    type SnapshotStream = BoxStream<'static, Result<SnapshotResponse, Status>>;

    async fn get_view_digest(
        &self,
        _: Request<GetViewDigestRequest>,
    ) -> Result<Response<GetViewDigestResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn rebuild_view(
        &self,
        _: Request<RebuildViewRequest>,
    ) -> Result<Response<Self::RebuildViewStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn snapshot(
        &self,
        _: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let parts = self.bytes.chunks(64 * 1024).map(|data| Part::Data(data.to_vec()));
        let parts = std::iter::once(Part::Header(self.header.clone())).chain(parts);
        let messages: Vec<_> =
            parts.map(|part| Ok(SnapshotResponse { part: Some(part) })).collect();
        let messages = futures::stream::iter(messages);
        Ok(Response::new(match self.stalls {
            true => messages.chain(futures::stream::pending()).boxed(),
            false => messages.boxed(),
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_does_not_fit_is_not_taken() -> Result {
    let (system, _) = system().await?;
    let operator = system.client("olga", Role::Operator)?;
    let wanted = digest(&operator).await?;
    let (header, bytes) = snapshot(&operator).await?;
    let peer = |header, bytes| Peer { header, bytes, stalls: false };
    let hashed = |bytes: &[u8]| SnapshotHeader {
        hash: blake3::hash(bytes).as_bytes().to_vec(),
        ..header.clone()
    };
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    let mut damaged = bytes.clone();
    damaged[4_096..bytes.len() / 2].fill(0xff);
    let newer = SnapshotHeader { schema_version: header.schema_version + 1, ..header.clone() };
    let elsewhere = SnapshotHeader { position: "comment:1".into(), ..header.clone() };
    let foreign = SnapshotHeader { installation: Stranger::INSTALLATION.into(), ..header.clone() };
    let cases = [
        ("foreign", peer(foreign, bytes.clone()), "of another installation, the-other/agora"),
        ("newer", peer(newer, bytes.clone()), "version 4 of the schema"),
        ("flipped", peer(header.clone(), flipped), "its hash differs"),
        ("damaged", peer(hashed(&damaged), damaged), "cannot be resumed"),
        ("cut", peer(header.clone(), bytes[..bytes.len() / 2].to_vec()), "it is shorter"),
        ("elsewhere", peer(elsewhere, bytes.clone()), "its checkpoints differ"),
    ];
    for (name, peer, why) in cases {
        let (address, _serving) = peer.start().await?;
        let another = system.another_query(name, &[(PEERS, format!("http://{address}"))])?;
        another.ready().await?;
        // It was ready no sooner than it had everything.
        assert_eq!(digest(&client(&system, &another)?).await?, wanted, "{name}");
        assert_eq!(origin(&another).await, "streams", "{name}");
        let output = another.process.output();
        assert!(output.contains(why), "{name}: it printed: {output}");
        assert!(!fetched(&another).exists(), "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_while_it_fetches_starts_clean() -> Result {
    let (system, _) = system().await?;
    let operator = system.client("olga", Role::Operator)?;
    let (header, bytes) = snapshot(&operator).await?;
    let half = bytes[..bytes.len() / 2].to_vec();
    let (address, _serving) = Peer { header, bytes: half, stalls: true }.start().await?;
    let mut another = system.another_query("killed", &[(PEERS, format!("http://{address}"))])?;
    let arrived = || async { fs::metadata(fetched(&another)).is_ok_and(|file| file.len() > 0) };
    wait_until("half of the view to arrive", arrived).await?;
    another.process.kill().await?;
    assert!(fetched(&another).exists());
    assert!(!another.database.exists());

    let peers = system.addresses().query[0].clone();
    another.process.become_program(&program("agora")?, Some((PEERS, &peers)));
    another.process.restart()?;
    another.ready().await?;
    assert_eq!(origin(&another).await, "snapshot", "it printed: {}", another.process.output());
    assert!(!fetched(&another).exists());
    assert_eq!(digest(&client(&system, &another)?).await?, digest(&operator).await?);
    Ok(())
}
