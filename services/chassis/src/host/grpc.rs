use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, Response, Version, header};
use http_body_util::Either;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use super::{
    StartError,
    edge::{Edge, EdgeBody},
};
use crate::config;

/// How many requests one connection may have open at the same time.
const MAX_STREAMS: u32 = 1_024;
/// How many bytes of a message may be under way before they are read.
const WINDOW: u32 = 1024 * 1024;
/// The pause after a connection could not be accepted, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a browser may remember what it is allowed.
const CORS_MAX_AGE: Duration = Duration::from_secs(3_600);

/// The gRPC server: gRPC over HTTP/2, gRPC-Web over HTTP/1 and HTTP/2.
pub(super) struct Server {
    listener: TcpListener,
    services: Services,
    connections: Builder<TokioExecutor>,
    max_age: Option<Duration>,
    drain_timeout: Duration,
}

/// The services, as callers and as browsers need them.
#[derive(Clone)]
struct Services {
    edge: Edge,
    web: Arc<Cors<GrpcWebService<Edge>>>,
}

impl Server {
    pub(super) fn new(
        listener: TcpListener,
        edge: Edge,
        settings: &config::Server,
    ) -> Result<Self, StartError> {
        let web = GrpcWebLayer::new().layer(edge.clone());
        let web = Arc::new(cors(&settings.cors_origins)?.layer(web));
        let max_age = Duration::from_millis(settings.max_connection_age_ms);
        Ok(Self {
            listener,
            services: Services { edge, web },
            connections: connections(settings),
            max_age: (!max_age.is_zero()).then_some(max_age),
            drain_timeout: Duration::from_millis(settings.drain_timeout_ms),
        })
    }

    /// Serves until the shutdown; then takes no more connections, and gives those that
    /// are open the time that is configured to end their requests.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let Self { listener, services, connections, max_age, drain_timeout } = self;
        let mut open = JoinSet::new();
        while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
            while open.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    let connection = Connection {
                        services: services.clone(),
                        builder: connections.clone(),
                        max_age,
                        shutdown: shutdown.clone(),
                    };
                    open.spawn(connection.run(stream));
                }
                Err(error) => accept_failed(&error).await,
            }
        }
        drop(listener);
        let all = async { while open.join_next().await.is_some() {} };
        if timeout(drain_timeout, all).await.is_err() {
            tracing::warn!(
                connections = open.len(),
                "connections did not end in time: closing them"
            );
            open.shutdown().await;
        }
    }
}

impl Services {
    async fn handle(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Either<EdgeBody, Body>>, Infallible> {
        let is_from_browser = is_from_browser(&request);
        let request = request.map(Body::new);
        if is_from_browser {
            let answer = (*self.web).clone().oneshot(request).await?;
            return Ok(answer.map(Either::Right));
        }
        Ok(self.edge.handle(request).await.map(Either::Left))
    }
}

/// Whether a request needs the layers for browsers. The others are spared them.
fn is_from_browser(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    request.version() != Version::HTTP_2
        || request.method() == Method::OPTIONS
        || request.headers().contains_key(header::ORIGIN)
        || content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc-web"))
}

/// One connection.
struct Connection {
    services: Services,
    builder: Builder<TokioExecutor>,
    max_age: Option<Duration>,
    shutdown: CancellationToken,
}

impl Connection {
    /// Serves it until the caller closes it, or gently ends it when it is too old or the
    /// server shuts down.
    async fn run(self, stream: TcpStream) {
        let Self { services, builder, max_age, shutdown } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let service = service_fn(move |request| {
            let services = services.clone();
            async move { services.handle(request).await }
        });
        let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let served = tokio::select! {
            served = &mut serving => served,
            () = until(&shutdown, max_age) => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(error, "connection failed");
        }
    }
}

/// Waits until a connection is to end.
async fn until(shutdown: &CancellationToken, max_age: Option<Duration>) {
    match max_age {
        None => shutdown.cancelled().await,
        Some(age) => shutdown.run_until_cancelled(sleep(age)).await.unwrap_or(()),
    }
}

fn connections(settings: &config::Server) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let interval = Duration::from_millis(settings.keepalive_interval_ms);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .keep_alive_interval((!interval.is_zero()).then_some(interval))
        .keep_alive_timeout(Duration::from_millis(settings.keepalive_timeout_ms));
    // With a timer, HTTP/1 limits how long a head may take to arrive.
    builder.http1().timer(TokioTimer::new());
    builder
}

async fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    sleep(ACCEPT_PAUSE).await;
}

/// Which pages may call: those of the configured origins, none by default.
fn cors(origins: &[String]) -> Result<CorsLayer, StartError> {
    let parse = |origin: &String| {
        HeaderValue::from_str(origin).ok().filter(|origin| origin != "*").ok_or_else(|| {
            let what = format!("{origin:?} is not an origin such as https://example.org");
            StartError::Setting { key: "server.cors_origins", what }
        })
    };
    let origins = origins.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let sent = ["x-grpc-web", "x-user-agent", "grpc-timeout", "traceparent"];
    let sent = sent.map(HeaderName::from_static).into_iter();
    let read = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
    Ok(CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::POST])
        .allow_headers(
            sent.chain([header::CONTENT_TYPE, header::AUTHORIZATION]).collect::<Vec<_>>(),
        )
        .expose_headers(read.map(HeaderName::from_static))
        .max_age(CORS_MAX_AGE))
}
