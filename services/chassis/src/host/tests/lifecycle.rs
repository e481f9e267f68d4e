use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::fixture::{Fixture, PATIENCE, channel, client, eventually, http, list};
use crate::{
    Host, Running, StartError,
    host::{LIVENESS, RunError, reachable},
};

const SERVICE: &str = "agora.post.v1.PostService";

#[tokio::test]
async fn health_follows_every_part() {
    let fixture = Fixture::new();
    let mut host = fixture.host().await;
    let health = host.health("comment relay");
    host.spawn("quick", async { Ok::<(), RunError>(()) });
    let running = host.serve().await.unwrap();
    let plain = running.http_address();
    let mut client = HealthClient::new(channel(&running).await);
    let mut check = async |service: &str| {
        let request = HealthCheckRequest { service: service.into() };
        client.check(request).await.unwrap().into_inner().status().as_str_name().to_owned()
    };
    let ready = "GET /readyz HTTP/1.1\r\nHost: localhost";

    let answer = http(plain, ready, b"").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("comment relay: not ready: starting"), "{answer}");
    health.set_ready(false, "waiting for NATS");
    let answer = http(plain, ready, b"").await;
    assert!(answer.contains("comment relay: not ready: waiting for NATS"), "{answer}");
    for service in ["", SERVICE] {
        eventually("health", async || check(service).await, |told| told == "NOT_SERVING").await;
    }

    health.set_ready(true, "running");
    eventually(
        "ready",
        async || http(plain, ready, b"").await,
        |answer| answer.starts_with("HTTP/1.1 200"),
    )
    .await;
    for service in ["", SERVICE] {
        eventually("health", async || check(service).await, |told| told == "SERVING").await;
    }
    let answer = http(plain, "GET /livez HTTP/1.1\r\nHost: localhost", b"").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // What befalls it now befalls all replicas.
    health.set_ready(false, "NATS is gone");
    let answer = http(plain, ready, b"").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("comment relay: ready: NATS is gone"), "{answer}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_process_that_is_not_ready_is_alive() {
    let fixture = Fixture::new();
    let host = fixture.host().await;
    let _health = host.health("comment relay");
    let running = host.serve().await.unwrap();
    let mut client = HealthClient::new(channel(&running).await);
    let request = HealthCheckRequest { service: LIVENESS.into() };
    let told = client.check(request).await.unwrap().into_inner();
    assert_eq!(told.status().as_str_name(), "SERVING");
    running.stop().await.unwrap();
}

#[test]
fn every_address_is_reached_on_loopback() {
    for (listening, called) in [
        ("0.0.0.0:7400", "127.0.0.1:7400"),
        ("[::]:7400", "[::1]:7400"),
        ("10.0.0.1:1", "10.0.0.1:1"),
    ] {
        assert_eq!(reachable(listening.parse().unwrap()).to_string(), called);
    }
}

#[tokio::test]
async fn requests_are_counted_by_method_and_code() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    client(&running).await.list_posts(list("bare")).await.unwrap_err();
    let ask = async || {
        http(running.http_address(), "GET /metrics HTTP/1.1\r\nHost: localhost", b"").await
    };
    let counted = format!("agora_requests_total{{rpc=\"{SERVICE}/ListPosts\",code=\"ABORTED\"}}");
    let answer = eventually("counted", ask, |answer| answer.contains(&counted)).await;
    assert!(answer.contains("agora_request_duration_seconds_bucket"), "{answer}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn reflection_shows_what_is_served() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let answer = reflect(&running, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, [SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn reflection_describes_the_details_of_errors() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    for name in ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo"] {
        let answer = reflect(&running, MessageRequest::FileContainingSymbol(name.into())).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{answer:?}");
    }
    running.stop().await.unwrap();
}

async fn reflect(running: &Running, message_request: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(channel(running).await);
    let request =
        ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
    let answers = client.server_reflection_info(futures::stream::iter([request])).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    answer.message_response.unwrap()
}

#[tokio::test]
async fn idle_peers_and_health_watches_do_not_hold_the_shutdown() {
    let mut fixture = Fixture::new();
    fixture.config.server.drain_timeout_ms = 600_000;
    let running = fixture.serve().await;
    let _idle = TcpStream::connect(running.grpc_address()).await.unwrap();
    let _idle_too = TcpStream::connect(running.http_address()).await.unwrap();
    let mut watching = HealthClient::new(channel(&running).await);
    let mut watch = watching.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();

    timeout(PATIENCE, running.stop()).await.expect("it ends by itself").unwrap();
    let end = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut stream is an error"),
            Err(end) => break end,
        }
    };
    assert_eq!(super::fixture::reason(&end), "SHUTTING_DOWN");
}

#[tokio::test]
async fn the_drain_is_bounded() {
    let mut fixture = Fixture::new();
    fixture.config.server.drain_timeout_ms = 50;
    fixture.config.server.request_timeout_ms = 600_000;
    let running = fixture.serve().await;
    let mut client = client(&running).await;
    let waiting = tokio::spawn(async move { client.list_posts(list("slow")).await });
    fixture.stub.arrived.notified().await;

    let started = Instant::now();
    timeout(PATIENCE, running.stop()).await.expect("it is bounded").unwrap();
    assert!(started.elapsed() >= Duration::from_millis(50), "it gave time");
    waiting.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn open_requests_are_answered_before_the_end() {
    let mut fixture = Fixture::new();
    fixture.config.server.request_timeout_ms = 300;
    let running = fixture.serve().await;
    let (plain, mut client) = (running.http_address(), client(&running).await);
    let waiting = tokio::spawn(async move { client.list_posts(list("slow")).await });
    fixture.stub.arrived.notified().await;
    let stopping = tokio::spawn(running.stop());
    let ready = "GET /readyz HTTP/1.1\r\nHost: localhost";
    let told = |answer: &str| answer.contains("server: not ready: shutting down");
    eventually("not ready", async || http(plain, ready, b"").await, told).await;

    let answer = waiting.await.unwrap().unwrap_err();
    assert_eq!(answer.code(), tonic::Code::DeadlineExceeded, "not cut: {answer:?}");
    stopping.await.unwrap().unwrap();
    TcpStream::connect(plain).await.unwrap_err();
}

#[tokio::test]
async fn a_task_that_fails_brings_the_process_down() {
    for panics in [false, true] {
        let fixture = Fixture::new();
        let mut host = fixture.host().await;
        let shutdown = host.shutdown();
        host.spawn("unlucky", async move {
            assert!(!panics, "as asked");
            Err::<(), _>("out of luck")
        });
        host.spawn("steady", async move {
            shutdown.cancelled().await;
            Ok::<(), RunError>(())
        });
        let running = host.serve().await.unwrap();
        let ended = timeout(PATIENCE, running.wait()).await.expect("it ends").unwrap_err();
        let ended = crate::error::chain(&ended);
        let wanted = if panics { "it panicked" } else { "out of luck" };
        assert_eq!(ended, format!("unlucky failed: {wanted}"));
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let mut fixture = Fixture::new();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    fixture.config.server.http_listen = taken.local_addr().unwrap();
    let refused = Host::open(&fixture.config, "test").await.err().unwrap();
    assert!(matches!(refused, StartError::Listen { .. }));
    let refused = crate::error::chain(&refused);
    for part in [taken.local_addr().unwrap().to_string().as_str(), "AGORA_SERVER__HTTP_LISTEN"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(!refused.contains('\n'));
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let mut fixture = Fixture::new();
    fixture.config.server.request_timeout_ms = u64::MAX;
    let refused = Host::open(&fixture.config, "test").await.err().unwrap().to_string();
    assert!(refused.contains("server.request_timeout_ms"), "{refused}");
    fixture.config.server.request_timeout_ms = 1;
    fixture.config.server.max_in_flight = 0;
    let refused = Host::open(&fixture.config, "test").await.err().unwrap().to_string();
    assert!(refused.contains("server.max_in_flight"), "{refused}");
}

/// A server that introduces itself as NATS of a version.
async fn fake_nats(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reader, mut writer) = stream.into_split();
            let info = format!(
                "INFO {{\"server_id\":\"x\",\"version\":\"{version}\",\"max_payload\":1048576,\
                 \"jetstream\":true,\"proto\":1,\"host\":\"127.0.0.1\",\"port\":1,\
                 \"headers\":true,\"server_name\":\"x\"}}\r\n"
            );
            writer.write_all(info.as_bytes()).await.unwrap();
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "PING" {
                    writer.write_all(b"PONG\r\n").await.unwrap();
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn an_old_nats_server_is_refused() {
    let mut fixture = Fixture::new();
    fixture.config.nats.url = fake_nats("2.9.10").await;
    let refused = Host::open(&fixture.config, "test").await.err().unwrap().to_string();
    assert!(refused.contains("2.9.10") && refused.contains("2.12"), "{refused}");
    fixture.config.nats.url = fake_nats("2.15.1").await;
    fixture.serve().await.stop().await.unwrap();
    fixture.config.nats.url = "nats://user:secret@127.0.0.1".into();
    let refused = Host::open(&fixture.config, "test").await.err().unwrap().to_string();
    assert!(refused.contains("nats.password") && !refused.contains("secret"), "{refused}");
}
