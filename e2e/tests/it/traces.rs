//! What arrives at a collector of traces, and what happens where none can be reached.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use agora_proto::{
    comment::v1::{CreateCommentRequest, GetCommentRequest},
    post::v1::CreatePostRequest,
};
use e2e::{
    Another, Client, Collected, Collector, Databases, Result, Role, Service, Setup, System,
    wait_until,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tonic::{
    Code, Request, Status,
    transport::{Endpoint, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use uuid::Uuid;

use crate::{
    check::quiet,
    write::{SITE, Writers, create_post},
};

/// The span that a caller is in.
const PARENT: &str = "b7ad6b7169203331";
const CREATE: &str = "agora.comment.v1.CommentService/CreateComment";

/// A system, and the collector that its traces go to.
async fn traced() -> Result<(Collector, System)> {
    let collector = Collector::start(None).await?;
    let otlp_port = Some(collector.port);
    let system = System::start_with(Setup { otlp_port, ..Setup::new(Databases::Files) }).await?;
    Ok((collector, system))
}

/// A request that is part of a trace of its caller's.
fn within<T>(trace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let traceparent = format!("00-{trace}-{PARENT}-01").parse().unwrap();
    request.metadata_mut().insert("traceparent", traceparent);
    request
}

/// Creates a comment within a trace.
async fn comment(client: &mut Client, trace: &str, post: &str) -> Result<(), Status> {
    let request = CreateCommentRequest {
        site: SITE.into(),
        post_id: post.into(),
        body: "traced".into(),
        ..Default::default()
    };
    client.comment.create_comment(within(trace, request)).await.map(|_| ())
}

/// Asks for what is not there within 2 seconds.
async fn late(client: &mut Client, trace: &str) {
    let request = GetCommentRequest {
        site: SITE.into(),
        comment_id: Uuid::now_v7().to_string(),
        position: "comment:1000000".into(),
    };
    let late = client.comment.get_comment(within(trace, request)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

/// Waits for a span.
async fn span(
    collector: &Collector,
    what: &str,
    wanted: impl Fn(&Collected) -> bool,
) -> Result<Collected> {
    wait_until(what, || async { !collector.spans(&wanted).is_empty() }).await?;
    Ok(collector.spans(wanted).remove(0))
}

/// Makes a call, which is a span.
async fn ask(query: &Another) -> Result {
    let channel = Endpoint::from_shared(query.url())?.connect().await?;
    HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    Ok(())
}

/// How many spans were lost.
async fn lost(query: &Another) -> f64 {
    let metrics = query.metrics().await;
    let lost = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"agora_spans_total{outcome="lost"} "#)?.parse().ok());
    lost.unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_followed_from_its_caller_to_those_who_apply_it() -> Result {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let (collector, system) = traced().await?;
    let mut ada = system.client("ada", Role::Author)?;
    let post = create_post(&mut ada, "traced").await?;
    quiet(&system).await?;
    comment(&mut ada, TRACE, &post).await?;

    let of = |kind, name: &'static str| {
        move |span: &Collected| span.trace == TRACE && span.kind == kind && span.name == name
    };
    let server = span(&collector, "the request", of(SpanKind::Server, CREATE)).await?;
    assert_eq!(server.parent, PARENT);
    assert_eq!(server.get("rpc.system.name"), "grpc");
    assert_eq!(server.get("rpc.method"), CREATE);
    assert_eq!(server.get("rpc.response.status_code"), "OK");
    assert_eq!(server.get("agora.site"), SITE);
    assert!(!server.is_error);
    assert_eq!(server.resource["service.name"], "comment");
    assert_eq!(server.resource["service.version"], env!("CARGO_PKG_VERSION"));
    server.resource["service.instance.id"].parse::<Uuid>()?;

    let commit = span(&collector, "the commit", of(SpanKind::Client, "commit comment")).await?;
    assert_eq!(commit.parent, server.id);
    assert_eq!(commit.get("db.system.name"), "sqlite");
    assert_eq!(commit.get("db.operation.name"), "COMMIT");

    let publish = of(SpanKind::Producer, "publish AGORA_COMMENT");
    let publish = span(&collector, "the message", publish).await?;
    assert_eq!(publish.parent, server.id);
    assert_eq!(publish.get("messaging.system"), "nats");
    assert_eq!(publish.get("messaging.operation.type"), "send");
    assert_eq!(publish.get("messaging.destination.name"), "agora.comment.kill.created");

    for service in ["moderation", "query"] {
        let consume = span(&collector, "those who apply it", |span| {
            span.service() == service
                && span.name == "process AGORA_COMMENT"
                && span.links.contains(&TRACE.to_owned())
        });
        let consume = consume.await?;
        assert_eq!(consume.kind, SpanKind::Consumer);
        assert_eq!((&*consume.trace, &*consume.parent), (TRACE, &*server.id), "just one was there");
        assert_eq!(consume.get("messaging.operation.type"), "process");
        assert_eq!(consume.get("messaging.batch.message_count"), "1");
    }
    // What the comment has caused is part of its trace, too.
    let decision = of(SpanKind::Producer, "publish AGORA_MODERATION");
    span(&collector, "the decision's message", decision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_on_its_way_until_nats_has_acknowledged_it() -> Result {
    const TRACE: &str = "4af7651916cd43dd8448eb211c80319c";
    let (collector, mut system) = traced().await?;
    let mut ada = system.client("ada", Role::Author)?;
    let post = create_post(&mut ada, "traced").await?;
    quiet(&system).await?;
    system.nats.node(0).pause().await?;
    comment(&mut ada, TRACE, &post).await?;
    let written = Instant::now();
    // It takes 2 seconds until this is given up.
    late(&mut ada, "5af7651916cd43dd8448eb211c80319c").await;
    let paused = written.elapsed();
    system.nats.node(0).resume().await?;
    let of = |span: &Collected| span.trace == TRACE && span.kind == SpanKind::Producer;
    let publish = span(&collector, "the message", of).await?;
    let took = Duration::from_nanos(publish.nanoseconds);
    assert!(took > paused / 2, "the message took {took:?}, and NATS was paused for {paused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_write_of_many_is_linked_by_those_who_apply_it() -> Result {
    const COMMENTS: u64 = 200;
    let (collector, system) = traced().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "traced").await?;
    Writers::start(&system, &post, COMMENTS)?.finish().await?;
    quiet(&system).await?;

    let published = || {
        let of = |span: &Collected| span.name == "publish AGORA_COMMENT";
        collector.spans(of).into_iter().map(|span| span.trace).collect::<BTreeSet<_>>()
    };
    wait_until("all messages", || async { published().len() as u64 >= COMMENTS }).await?;
    for service in ["moderation", "query"] {
        let missing = || {
            let consumed = collector
                .spans(|span| span.kind == SpanKind::Consumer && span.service() == service);
            let linked: BTreeSet<_> = consumed.into_iter().flat_map(|span| span.links).collect();
            published().difference(&linked).count()
        };
        let all = wait_until("all links", || async { missing() == 0 }).await;
        assert!(all.is_ok(), "{} of {COMMENTS} writes have no link from {service}", missing());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_another_service_is_part_of_the_trace() -> Result {
    const TRACE: &str = "1af7651916cd43dd8448eb211c80319c";
    const FAILED: &str = "2af7651916cd43dd8448eb211c80319c";
    const GET: &str = "agora.post.v1.PostService/GetPost";
    let (collector, mut system) = traced().await?;
    let mut ada = system.client("ada", Role::Author)?;
    create_post(&mut ada, "heard of").await?;
    // From now on the comment service hears of posts only if it asks.
    system.nats.kill().await?;
    let post = CreatePostRequest { site: SITE.into(), title: "new".into(), ..Default::default() };
    let post = ada.post.create_post(post).await?.into_inner().post.unwrap().post_id;
    comment(&mut ada, TRACE, &post).await?;

    let of =
        |kind| move |span: &Collected| span.trace == TRACE && span.kind == kind && span.name == GET;
    let call = span(&collector, "the call", of(SpanKind::Client)).await?;
    let answer = span(&collector, "its answer", of(SpanKind::Server)).await?;
    assert_eq!((call.service(), answer.service()), ("comment", "post"));
    assert_eq!(answer.parent, call.id);
    assert_eq!(call.get("rpc.method"), GET);
    assert_eq!(call.get("server.address"), "127.0.0.1");

    // Nobody answers it any more.
    system.process(Service::Post).kill().await?;
    let post = Uuid::now_v7().to_string();
    let refused = comment(&mut ada, FAILED, &post).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let failed = |kind| move |span: &Collected| span.trace == FAILED && span.kind == kind;
    let server = span(&collector, "the request", failed(SpanKind::Server)).await?;
    assert!(server.is_error, "{server:?}");
    assert_eq!(server.get("error.type"), "UNAVAILABLE");
    // The log says which request of which site it was, and names its trace.
    let log = system.process(Service::Comment).output();
    let is_it = |line: &&str| line.contains("request failed") && line.contains(FAILED);
    let line = log.lines().find(is_it).ok_or("nothing logged")?;
    let line: Value = serde_json::from_str(line)?;
    assert_eq!((&line["rpc"], &line["site"]), (&CREATE.into(), &SITE.into()), "{line}");
    assert_eq!(line["trace_id"], FAILED, "{line}");
    assert_eq!(line["span_id"], server.id.as_str(), "{line}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_late_is_an_error() -> Result {
    const TRACE: &str = "3af7651916cd43dd8448eb211c80319c";
    let (collector, system) = traced().await?;
    late(&mut system.client("ada", Role::Author)?, TRACE).await;
    let of = |span: &Collected| span.trace == TRACE && span.kind == SpanKind::Server;
    let server = span(&collector, "the request", of).await?;
    assert!(server.is_error, "{server:?}");
    assert_eq!(server.get("rpc.response.status_code"), "DEADLINE_EXCEEDED");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_go_to_a_collector_with_a_certificate_of_a_private_authority() -> Result {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned()])?;
    let certificate = certificate.signed_by(&key, &authority)?;
    let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
    let collector = Collector::start(Some(identity)).await?;

    let system = System::start().await?;
    let ca_file = system.folder().join("ca.pem");
    fs::write(&ca_file, authority.pem())?;
    let endpoint = format!("https://localhost:{}", collector.port);
    let trusting = [
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ("AGORA_TELEMETRY__OTLP_ENDPOINT", endpoint.clone()),
        ("AGORA_TELEMETRY__OTLP_CA_FILE", ca_file.display().to_string()),
    ];
    let query = system.another_query("trusting", &trusting)?;
    query.ready().await?;
    let asked = |span: &Collected| span.kind == SpanKind::Server;
    ask(&query).await?;
    span(&collector, "traces by TLS", asked).await?;

    // Without it, nobody is trusted whom the public authorities do not know.
    let mut distrusting = system.another_query("distrusting", &trusting[..2])?;
    distrusting.ready().await?;
    ask(&distrusting).await?;
    let told = || async { distrusting.process.output().contains("trace export failed") };
    wait_until("a warning", told).await?;
    assert!(!distrusting.process.has_ended());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_cannot_be_used_is_a_warning() -> Result {
    const UNUSABLE: &str = "telemetry.otlp_endpoint cannot be used";
    const UNREACHED: &str = "trace export failed";
    let system = System::start().await?;
    let empty = system.folder().join("empty.pem");
    fs::write(&empty, "")?;
    let (empty, absent) = (empty.display().to_string(), "/no/such/ca.pem".to_owned());
    let cases = [
        ("no-scheme", "localhost:4317", None, UNUSABLE, "http://"),
        ("other-scheme", "ftp://localhost:4317", None, UNUSABLE, "http://"),
        ("no-host", "http://", None, UNUSABLE, "endpoint"),
        ("no-file", "https://localhost:1", Some(absent), UNUSABLE, "/no/such/ca.pem"),
        ("no-certificate", "https://localhost:1", Some(empty), UNUSABLE, "empty.pem"),
        ("nobody", "http://127.0.0.1:1", None, UNREACHED, "refused"),
    ];
    for (name, endpoint, authorities, message, why) in cases {
        let mut variables = vec![
            ("AGORA_TELEMETRY__OTLP_ENDPOINT", endpoint.to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ];
        variables.extend(authorities.map(|path| ("AGORA_TELEMETRY__OTLP_CA_FILE", path)));
        let mut query = system.another_query(name, &variables)?;
        query.ready().await?;
        ask(&query).await?;
        let output = || query.process.output();
        wait_until("a warning", || async { output().contains(message) }).await?;
        if message == UNREACHED {
            // More are lost, which is counted and not told again.
            let before = lost(&query).await;
            ask(&query).await?;
            wait_until("more to be lost", || async { lost(&query).await > before }).await?;
        }
        let log = output();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(message)).collect();
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        let line: Value = serde_json::from_str(lines[0])?;
        assert_eq!(line["level"], "WARN", "{name}: {line}");
        assert!(lines[0].contains(endpoint) && lines[0].contains(why), "{name}: {line}");
        assert!(!query.process.has_ended());
        query.process.kill().await?;
    }
    Ok(())
}
