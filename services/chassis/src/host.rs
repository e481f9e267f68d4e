//! One process: its gRPC and HTTP servers, its connection to NATS, its tasks, and how
//! all of them start and end.
//!
//! A [`Host`] is opened, services are mounted in it, and [`Host::serve`] makes it
//! [`Running`]. Shutting down goes in this order: not ready any more; no new
//! connections, watches end; open requests get their time; tasks end.

mod allowed;
mod edge;
mod error;
mod grpc;
mod health;
mod http;
mod measure;
mod nats;
mod running;
mod signals;
mod tasks;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use agora_proto::FILE_DESCRIPTOR_SET;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService, service::Routes};
use tonic_health::ServingStatus;
use tower::Service;

use self::{
    allowed::Hosts,
    edge::{Edge, Rpcs, Shared},
    grpc::Server,
    health::Parts,
    nats::Nats,
    tasks::Tasks,
};
use crate::{
    Bus, Keys,
    auth::{self, Verifier},
    config,
    telemetry::{self, Samples},
};

use ::http::{Request, Response};

pub use error::{RunError, StartError};
pub use health::{Health, LIVENESS};
pub use nats::{Names, NatsError, Tls, TlsError};
pub use running::Running;
pub(crate) use signals::Signals;

/// How many bytes an answer's message may have; give it to
/// `max_encoding_message_size`. It is what gRPC clients take by default.
pub const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;
/// The longest time that requests may be configured to take.
const MAX_REQUEST_TIMEOUT_MS: u64 = 3_600_000;
/// The largest request that can be configured.
const MAX_REQUEST_BYTES: u64 = 64 * 1024 * 1024;
/// The most requests that can be configured to be worked on at the same time.
const MAX_IN_FLIGHT: u64 = 1_000_000;
/// What reflection shows of itself.
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
/// The part of a process that is ready as long as it serves.
const SERVER: &str = "server";
/// The name of the secret's file in a service's data folder.
const SECRET_FILE: &str = "secret";

/// A process that is being put together.
pub struct Host {
    settings: config::Server,
    grpc: TcpListener,
    addresses: Addresses,
    nats: async_nats::Client,
    bus: Bus,
    verifier: Verifier,
    parts: Parts,
    tasks: Tasks,
    shutdown: CancellationToken,
    /// Ends what answers until the very end.
    ended: CancellationToken,
    hosts: Arc<Hosts>,
    routes: Routes,
    services: Vec<&'static str>,
    samples: Samples,
}

/// Where a process listens.
#[derive(Clone, Copy)]
struct Addresses {
    grpc: SocketAddr,
    http: SocketAddr,
}

impl Host {
    /// Binds the listeners, reads the keys that tokens are verified with, and connects
    /// to NATS; if NATS does not answer, it goes on without for now. From here on plain HTTP
    /// says that the process lives, and is not ready: what is mounted may have to wait.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: &config::Host, name: &str) -> Result<Self, StartError> {
        telemetry::install_metrics();
        telemetry::tell_program(name);
        check(&config.server)?;
        let installation = config.installation.parse()?;
        let verifier = Verifier::new(&config.auth)
            .map_err(|(path, source)| StartError::PublicKey { path, source })?;
        let settings = config.server.clone();
        for address in [settings.listen, settings.http_listen] {
            if !verifier.has_keys() && !address.ip().is_loopback() {
                return Err(StartError::NoPublicKeys(address));
            }
        }
        let (grpc, grpc_address) =
            listen(settings.listen, "server.listen (AGORA_SERVER__LISTEN)").await?;
        let (http, http_address) =
            listen(settings.http_listen, "server.http_listen (AGORA_SERVER__HTTP_LISTEN)").await?;

        let (parts, shutdown) = (Parts::new(), CancellationToken::new());
        let ended = CancellationToken::new();
        let hosts = Arc::new(Hosts::new(grpc_address, &settings.allowed_hosts));
        let mut tasks = Tasks::default();
        // Not ready until it serves.
        parts.part(SERVER);
        let samples = Samples::default();
        let http = http::serve(http, parts.clone(), hosts.clone(), samples.clone(), ended.clone());
        tasks.spawn("HTTP server", http);

        let nats = Nats::connect(&config.nats, name).await?;
        let client = nats.client.clone();
        let bus = Bus::new(async_nats::jetstream::new(client.clone()), installation);
        samples.add(measure::reconnects(&client));
        tasks.spawn("NATS watch", endless(nats.watch(parts.part("NATS"), shutdown.clone())));
        tasks.spawn("metrics upkeep", endless(telemetry::upkeep(shutdown.clone())));
        Ok(Self {
            settings,
            grpc,
            addresses: Addresses { grpc: grpc_address, http: http_address },
            nats: client,
            bus,
            verifier,
            parts,
            tasks,
            shutdown,
            ended,
            hosts,
            routes: Routes::default(),
            services: Vec::new(),
            samples,
        })
    }

    /// Where gRPC listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// Where plain HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.addresses.http
    }

    /// The keys of a service: from `server.secret` if that is set, else from the file
    /// `secret` in the service's data folder, which is made if it is absent. A service whose
    /// database is in a server has no such folder.
    ///
    /// # Errors
    /// [`StartError::Secret`] and [`StartError::NoSecret`].
    pub fn keys(&self, folder: Option<&Path>) -> Result<Keys, StartError> {
        Ok(match (&self.settings.secret, folder) {
            (Some(secret), _) => Keys::derive(secret.as_string())?,
            (None, Some(folder)) => Keys::from_file(&folder.join(SECRET_FILE))?,
            (None, None) => return Err(StartError::NoSecret),
        })
    }

    /// The connection to NATS, which may not be there yet.
    pub fn nats(&self) -> async_nats::Client {
        self.nats.clone()
    }

    /// The streams of this installation.
    pub fn bus(&self) -> Bus {
        self.bus.clone()
    }

    /// Is cancelled when the process begins to shut down: watches and tasks end then.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// How many bytes a request's message may have; give it to
    /// `max_decoding_message_size`.
    pub fn max_request_bytes(&self) -> usize {
        self.settings.max_request_bytes
    }

    /// Runs a task until it ends by itself; it should when [`Self::shutdown`] is
    /// cancelled. If it fails or panics, the whole process shuts down and ends with its
    /// error.
    pub fn spawn<F, E>(&mut self, name: &str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.tasks.spawn(name, task);
    }

    /// Like [`Self::spawn`], on a thread of its own: for a task that all calls wait for,
    /// so that it does not queue behind them whenever it goes on.
    pub fn spawn_thread<F, E>(&mut self, name: &str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        self.tasks.spawn_thread(name, task);
    }

    /// Serves a gRPC service, made with its limits:
    /// `PostServiceServer::new(grpc).max_decoding_message_size(host.max_request_bytes())
    /// .max_encoding_message_size(host::MAX_RESPONSE_BYTES)`.
    pub fn add_service<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.services.push(S::NAME);
        self.routes = std::mem::take(&mut self.routes).add_service(service);
    }

    /// Has something be measured whenever metrics are asked for. It must not wait.
    pub fn sample(&self, sample: impl Fn() + Send + 'static) {
        self.samples.add(sample);
    }

    /// The health of a part of this process, by name. It is not ready until it says so.
    pub fn health(&self, name: &str) -> Health {
        self.parts.part(name)
    }

    /// Starts to serve.
    ///
    /// # Errors
    /// [`StartError::Methods`] if a method of a service names no permission,
    /// [`StartError::Setting`] if an origin is none.
    pub async fn serve(mut self) -> Result<Running, StartError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        let told = self.services.clone();
        self.add_service(health);
        self.add_reflection()?;

        let shared = Shared {
            hosts: self.hosts,
            rpcs: Rpcs::new(auth::methods(&self.services)?),
            verifier: self.verifier,
            in_flight: Semaphore::new(self.settings.max_in_flight),
            request_timeout: Duration::from_millis(self.settings.request_timeout_ms),
            shutdown: self.shutdown.clone(),
        };
        let shared = Arc::new(shared);
        self.samples.add(measure::in_flight(shared.clone(), self.settings.max_in_flight));
        let edge = Edge { routes: self.routes.prepare(), shared };
        let server = Server::new(self.grpc, edge, &self.settings)?;

        let mut tasks = self.tasks;
        let telling = self.parts.clone().tell(reporter, told, self.ended.clone());
        tasks.spawn("health", endless(telling));
        Ok(Running::start(running::Parts {
            addresses: self.addresses,
            server,
            health: self.parts.part(SERVER),
            tasks,
            shutdown: self.shutdown,
            ended: self.ended,
        }))
    }

    /// Shows the services that are served here and no others, and what is in the details of
    /// errors.
    fn add_reflection(&mut self) -> Result<(), StartError> {
        let mut builder = tonic_reflection::server::Builder::configure()
            .with_service_name(REFLECTION)
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        for service in &self.services {
            builder = builder.with_service_name(*service);
        }
        let service = builder.build_v1().map_err(|error| StartError::Other(error.into()))?;
        self.add_service(service);
        Ok(())
    }
}

/// Where this machine reaches an address that is listened on: `0.0.0.0` is every
/// address, and none to call.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Checks what a number alone does not say.
fn check(settings: &config::Server) -> Result<(), StartError> {
    let positive = [
        ("server.request_timeout_ms", settings.request_timeout_ms, MAX_REQUEST_TIMEOUT_MS),
        ("server.keepalive_timeout_ms", settings.keepalive_timeout_ms, u64::MAX),
        ("server.max_request_bytes", settings.max_request_bytes as u64, MAX_REQUEST_BYTES),
        ("server.max_in_flight", settings.max_in_flight as u64, MAX_IN_FLIGHT),
    ];
    for (key, value, max) in positive {
        if !(1..=max).contains(&value) {
            let what = format!("{value} is not between 1 and {max}");
            return Err(StartError::Setting { key, what });
        }
    }
    Ok(())
}

async fn listen(
    address: SocketAddr,
    setting: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, setting, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// A task that cannot fail.
async fn endless(task: impl Future<Output = ()>) -> Result<(), Infallible> {
    task.await;
    Ok(())
}
