//! Traces go to an OTLP endpoint, as children of what the caller traces.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use chassis::{Host, config, telemetry};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Status,
    body::Body,
    server::NamedService,
    transport::{Endpoint, Server},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::Service;

/// More than anything here takes, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(20);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A collector that keeps what it is sent.
#[derive(Clone)]
struct Collector(mpsc::UnboundedSender<Vec<u8>>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<Request<Body>> for Collector {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sent = self.0.clone();
        Box::pin(async move {
            let body = request.into_body().collect().await.expect("it arrives").to_bytes();
            sent.send(body.to_vec()).ok();
            Ok(Status::ok("").into_http())
        })
    }
}

fn contains(sent: &[u8], part: &[u8]) -> bool {
    sent.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_child_of_what_its_caller_traces() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut sent) = mpsc::unbounded_channel();
    let collector = Server::builder().add_service(Collector(sender));
    tokio::spawn(collector.serve_with_incoming(TcpListenerStream::new(listener)));

    let settings =
        config::Telemetry { otlp_endpoint: Some(endpoint), ..config::Telemetry::default() };
    let guard = telemetry::init(&settings, "agora-test").unwrap();
    assert!(telemetry::init(&settings, "agora-test").is_err(), "once per process");

    let mut config = config::Host::default();
    config.installation.name = Some("test".into());
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = "127.0.0.1:0".parse().unwrap();
    config.nats.url = "nats://127.0.0.1:1".into();
    let running = Host::open(&config, "test").await.unwrap().serve().await.unwrap();
    let address = format!("http://{}", running.grpc_address());
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap();
    request.metadata_mut().insert("traceparent", traceparent);
    client.check(request).await.unwrap();
    running.stop().await.unwrap();
    drop(guard);

    let trace = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    let wanted: [&[u8]; 4] = [&trace, b"grpc.health.v1.Health/Check", b"agora-test", b"OK"];
    let arrived = async {
        loop {
            let sent = sent.recv().await.expect("the collector runs");
            if wanted.iter().all(|part| contains(&sent, part)) {
                return;
            }
        }
    };
    timeout(PATIENCE, arrived).await.expect("the trace arrives");
}
