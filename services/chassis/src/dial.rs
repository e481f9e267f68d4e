//! Calling a service that has several replicas: the calls are spread over all addresses
//! that its name has, as that of a headless Service in Kubernetes, and the name is looked up
//! again every few seconds.

mod traced;

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::join_all;
use http::{Uri, uri::Scheme};
use tokio::{
    net::{TcpStream, lookup_host},
    sync::mpsc::Sender,
    time::{sleep, timeout},
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{self, Channel, Endpoint, channel::Change},
};

pub use traced::Traced;

/// How often the name is looked up.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a name, or a connection, may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How often a connection is asked for a sign of life, used or not.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long that sign may take: a busy machine is no dead one.
const SIGN: Duration = Duration::from_secs(3);
/// How many changes wait until the next call takes note of them.
const MAX_CHANGES: usize = 64;

/// Where a service is: a URL whose name may have several addresses.
#[derive(Clone, Debug)]
pub struct Target {
    origin: Uri,
    host: String,
    port: u16,
}

/// Why a URL names no service.
#[derive(Debug, thiserror::Error)]
pub enum NoTarget {
    /// It is no URL.
    #[error("it is no URL such as http://127.0.0.1:7401")]
    Url,
    /// It is one of another kind.
    #[error("it does not begin with http://")]
    Scheme,
}

/// Why no token is sent along.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// The file cannot be read.
    #[error("the token's file {0} cannot be read")]
    Read(PathBuf, #[source] io::Error),
    /// What it holds is none.
    #[error("the file {0} holds no token")]
    None(PathBuf),
}

/// A request with the token that a file holds now, if there is to be one. It is read anew
/// every time: tokens are replaced before they expire.
///
/// # Errors
/// [`NoToken`].
pub fn request<T>(message: T, token_file: Option<&Path>) -> Result<Request<T>, NoToken> {
    let mut request = Request::new(message);
    if let Some(path) = token_file {
        let token =
            fs::read_to_string(path).map_err(|error| NoToken::Read(path.to_owned(), error))?;
        let bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
            .parse()
            .map_err(|_| NoToken::None(path.to_owned()))?;
        request.metadata_mut().insert("authorization", bearer);
    }
    Ok(request)
}

/// Whether an address is that of this process, which listens on a port: what this machine
/// would send there, it sends from that very address.
pub fn is_own(address: SocketAddr, port: u16) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        // Nothing is sent: the route is looked up.
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        socket.local_addr()
    };
    address.port() == port && source().is_ok_and(|source| source.ip() == address.ip())
}

impl std::str::FromStr for Target {
    type Err = NoTarget;

    fn from_str(url: &str) -> Result<Self, NoTarget> {
        let origin: Uri = url.parse().map_err(|_| NoTarget::Url)?;
        let host = origin.host().ok_or(NoTarget::Url)?;
        if origin.scheme() != Some(&Scheme::HTTP) {
            return Err(NoTarget::Scheme);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = origin.port_u16().unwrap_or(80);
        Ok(Self { origin, host, port })
    }
}

impl Target {
    /// The addresses that its name has now.
    ///
    /// # Errors
    /// What the resolver says.
    pub async fn addresses(&self) -> io::Result<BTreeSet<SocketAddr>> {
        let looking = lookup_host((self.host.as_str(), self.port));
        let found = timeout(ANSWER, looking).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(found.collect())
    }

    /// One of its addresses, called by its name.
    fn at(&self, address: SocketAddr) -> Endpoint {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        endpoint
            .expect("an address makes a URL")
            .origin(self.origin.clone())
            .connect_timeout(ANSWER)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(SIGN)
            .keep_alive_while_idle(true)
    }

    /// Connects to one of its addresses.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect(&self, address: SocketAddr) -> Result<Traced, transport::Error> {
        Ok(Traced::new(self.at(address).connect().await?, self))
    }

    /// A channel that spreads calls over all its addresses. While none is known, calls wait:
    /// they need a deadline of their own.
    pub fn balanced(self) -> Traced {
        let (channel, changes) = Channel::balance_channel(MAX_CHANGES);
        let at = self.clone();
        let traced = Traced::new(channel, &self);
        let look = move || {
            let target = self.clone();
            async move { target.addresses().await }
        };
        tokio::spawn(follow(changes, look, move |address| at.at(address), LOOK_EVERY));
        traced
    }
}

/// Keeps a channel to the addresses that are found, until the channel is dropped.
async fn follow<F>(
    changes: Sender<Change<SocketAddr, Endpoint>>,
    look: impl Fn() -> F,
    at: impl Fn(SocketAddr) -> Endpoint,
    every: Duration,
) where
    F: Future<Output = io::Result<BTreeSet<SocketAddr>>>,
{
    let mut used = BTreeSet::new();
    loop {
        match look().await {
            Ok(found) if !found.is_empty() => {
                let found = that_listen(found).await;
                // New ones first, so that there always is one.
                let new = found.difference(&used).map(|new| Change::Insert(*new, at(*new)));
                let gone = used.difference(&found).map(|gone| Change::Remove(*gone));
                for change in new.chain(gone) {
                    if changes.send(change).await.is_err() {
                        return;
                    }
                }
                used = found;
            }
            // Those that were found before may still be there.
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "cannot resolve a service's addresses"),
        }
        tokio::select! {
            () = sleep(every) => {}
            () = changes.closed() => return,
        }
    }
}

/// Those that take connections: the name of a replica that has just died is still there for
/// a while. All of them, if none does, so that calls fail instead of waiting.
async fn that_listen(found: BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
    if found.len() == 1 {
        return found;
    }
    let listens = |address: &SocketAddr| {
        let address = *address;
        async move {
            let connected = timeout(ANSWER, TcpStream::connect(address)).await;
            matches!(connected, Ok(Ok(_))).then_some(address)
        }
    };
    let listening: BTreeSet<SocketAddr> =
        join_all(found.iter().map(listens)).await.into_iter().flatten().collect();
    if listening.is_empty() { found } else { listening }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::Code;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const EVERY: Duration = Duration::from_millis(50);

    /// A replica, which knows itself alone by its name.
    async fn replica(address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        let serving = tonic_health::ServingStatus::Serving;
        reporter.set_service_status(address.ip().to_string(), serving).await;
        let server = tonic::transport::Server::builder().add_service(health);
        let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
        (address, tokio::spawn(async move { serving.await.unwrap() }))
    }

    /// Which of two replicas answers each of some calls; `None` for an error.
    async fn answered(channel: &Channel, first: SocketAddr) -> Vec<Option<bool>> {
        let mut answers = Vec::new();
        for _ in 0..20 {
            let request = HealthCheckRequest { service: first.ip().to_string() };
            let mut client = HealthClient::new(channel.clone());
            let answer = timeout(PATIENCE, client.check(request)).await.unwrap();
            answers.push(match answer {
                Ok(_) => Some(true),
                Err(status) if status.code() == Code::NotFound => Some(false),
                Err(_) => None,
            });
        }
        answers
    }

    async fn eventually(
        channel: &Channel,
        first: SocketAddr,
        wanted: impl Fn(&[Option<bool>]) -> bool,
    ) {
        let until = Instant::now() + PATIENCE;
        loop {
            let answers = answered(channel, first).await;
            if wanted(&answers) {
                return;
            }
            assert!(Instant::now() < until, "{answers:?}");
            sleep(EVERY).await;
        }
    }

    #[tokio::test]
    async fn calls_are_spread_over_the_replicas_that_are_there() {
        let (first, _first) = replica("127.0.0.1:0".parse().unwrap()).await;
        let (second, serving) = replica("127.0.0.2:0".parse().unwrap()).await;
        let named = Arc::new(Mutex::new(BTreeSet::from([first, second])));
        let (channel, changes) = Channel::balance_channel(MAX_CHANGES);
        let known = named.clone();
        let look = move || {
            let found = known.lock().unwrap().clone();
            async move { Ok(found) }
        };
        let target: Target = "http://localhost".parse().unwrap();
        let at = move |address| target.at(address);
        let following = tokio::spawn(follow(changes, look, at, EVERY));

        let both = |answers: &[Option<bool>]| {
            answers.contains(&Some(true)) && answers.contains(&Some(false))
        };
        let first_alone = |answers: &[Option<bool>]| answers.iter().all(|it| *it == Some(true));
        eventually(&channel, first, both).await;
        // It dies while its name is still known.
        serving.abort();
        serving.await.unwrap_err();
        eventually(&channel, first, first_alone).await;
        // Another one takes its place, and the first is not named any more.
        let (third, _third) = replica("127.0.0.2:0".parse().unwrap()).await;
        named.lock().unwrap().insert(third);
        eventually(&channel, first, both).await;
        named.lock().unwrap().remove(&first);
        eventually(&channel, first, |answers| answers.iter().all(|it| *it == Some(false))).await;

        // Nobody looks any more once nobody can call.
        drop(channel);
        timeout(PATIENCE, following).await.expect("it ends by itself").unwrap();
    }

    #[test]
    fn a_url_names_a_service() {
        for url in ["http://127.0.0.1:7401", "http://agora-post-headless:7401", "http://[::1]:1"] {
            url.parse::<Target>().unwrap();
        }
        for url in ["", "agora-post:7401", "https://agora-post:7401", "http://"] {
            url.parse::<Target>().unwrap_err();
        }
    }

    #[test]
    fn a_replica_knows_itself() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(is_own(address("127.0.0.1:7404"), 7404));
        assert!(!is_own(address("127.0.0.1:7404"), 7405));
        assert!(!is_own(address("192.0.2.1:7404"), 7404));
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        let target: Target = "http://localhost:7401".parse().unwrap();
        let found = target.addresses().await.unwrap();
        assert!(found.iter().all(|it| it.ip().is_loopback() && it.port() == 7401), "{found:?}");
    }
}
