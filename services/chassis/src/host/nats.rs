mod failures;
mod tls;

use std::{path::PathBuf, time::Duration};

use async_nats::{Client, ClientError, ConnectErrorKind, ConnectOptions, Event};
use metrics::Unit;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use self::failures::Failures;
pub use self::tls::{Names, Tls, TlsError};
use super::Health;
use crate::config;

/// The oldest nats-server that does what is needed; older ones ignore parts of it
/// without a word.
const OLDEST: (i64, i64, i64) = (2, 12, 0);
/// How long a process waits for NATS when it starts. Afterwards it goes on without:
/// reads are answered, and all catches up once NATS is there.
const GRACE: Duration = Duration::from_secs(2);
/// How long one try to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause between two tries to connect.
const MAX_PAUSE_MS: u64 = 1_000;
/// How often a silent connection is asked for a sign of life.
const PING: Duration = Duration::from_secs(10);

/// Why NATS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The configured address is none.
    #[error("nats.url {url} is not an address such as nats://127.0.0.1:4222")]
    Url {
        /// What is configured.
        url: String,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// Passwords do not belong into the address, which is printed and logged.
    #[error("nats.url holds a password: put it into nats.user and nats.password")]
    PasswordInUrl,
    /// One of user and password is missing.
    #[error("nats.user and nats.password belong together: one of them is missing")]
    HalfALogin,
    /// The file with credentials cannot be read.
    #[error("cannot read nats.credentials_file {path}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that TLS needs cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server is too old.
    #[error(
        "the nats-server at {url} is {version}, and at least 2.12 is needed: start a newer one, \
         or choose another by nats.url (AGORA_NATS__URL)"
    )]
    TooOld {
        /// Where it is.
        url: String,
        /// Its version.
        version: String,
    },
    /// The server keeps no streams.
    #[error("the nats-server at {url} runs without JetStream: start it with -js")]
    NoJetStream {
        /// Where it is.
        url: String,
    },
}

/// What was last heard of the connection.
#[derive(Debug)]
struct Heard {
    link: Link,
    failures: Failures,
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Pending,
    Failed,
    /// The server does not let this process in.
    Refused,
    Connected,
}

/// What is wrong then, and what to do.
const REFUSED: &str = "NATS rejected the credentials: check nats.user and nats.password \
                       (AGORA_NATS__USER, AGORA_NATS__PASSWORD), or nats.credentials_file";

/// A connection to NATS that may not be there yet, and what is heard of it.
pub(super) struct Nats {
    pub(super) client: Client,
    url: String,
    heard: watch::Receiver<Heard>,
}

impl Nats {
    /// Starts to connect, and waits for [`GRACE`] whether it succeeds.
    ///
    /// # Errors
    /// [`NatsError`]; a server that does not answer is none.
    pub(super) async fn connect(settings: &config::Nats, name: &str) -> Result<Self, NatsError> {
        let url = settings.url.clone();
        if url.contains('@') {
            return Err(NatsError::PasswordInUrl);
        }
        if settings.user.is_some() != settings.password.is_some() {
            return Err(NatsError::HalfALogin);
        }
        let nothing = Heard { link: Link::Pending, failures: Failures::default() };
        let (hears, mut heard) = watch::channel(nothing);
        let servers = config::nats_servers(&url);
        let connected = options(settings, name, hears).await?.connect(servers).await;
        let client = connected.map_err(|source| NatsError::Url { url: url.clone(), source })?;

        // Told or not: after the grace it goes on.
        timeout(GRACE, heard.wait_for(|heard| heard.link != Link::Pending)).await.ok();
        let nats = Self { client, url, heard };
        let link = nats.heard.borrow().link;
        match link {
            Link::Connected => nats.check().await?,
            // Told already. Credentials may be put right on the server, too.
            Link::Refused => {}
            Link::Pending | Link::Failed => {
                tracing::warn!(url = nats.url, "NATS is unreachable: starting without it");
            }
        }
        Ok(nats)
    }

    /// Whether the connected server does what is needed.
    async fn check(&self) -> Result<(), NatsError> {
        // The server's description is there before the first answer.
        timeout(GRACE, self.client.flush()).await.ok();
        let Some(info) = self.client.try_server_info() else { return Ok(()) };
        let (major, minor, patch) = OLDEST;
        if !self.client.is_server_compatible(major, minor, patch) {
            return Err(NatsError::TooOld { url: self.url.clone(), version: info.version });
        }
        if !info.jetstream {
            return Err(NatsError::NoJetStream { url: self.url.clone() });
        }
        Ok(())
    }

    /// Checks the server after every connect, and says what is wrong as health.
    pub(super) async fn watch(mut self, health: Health, shutdown: CancellationToken) {
        metrics::describe_gauge!(
            "agora_nats_connected",
            Unit::Count,
            "1 while this process is connected to a NATS server that it can use"
        );
        let gauge = metrics::gauge!("agora_nats_connected");
        let mut was_connected = false;
        loop {
            let (link, failures) = {
                let heard = self.heard.borrow_and_update();
                (heard.link, heard.failures.to_string())
            };
            let mut is_usable = false;
            match link {
                Link::Connected => match self.check().await {
                    Ok(()) => {
                        is_usable = true;
                        was_connected = true;
                        health.set_ready(true, "connected");
                    }
                    Err(error) => {
                        tracing::error!(%error, "NATS cannot be used");
                        health.set_ready(false, &error.to_string());
                    }
                },
                // Who was let in before goes on, as without NATS.
                Link::Refused if was_connected => health.set_ready(true, REFUSED),
                // Who never was is set up wrongly.
                Link::Refused => health.end(REFUSED),
                // Reads and, in a running service, writes go on without NATS.
                Link::Pending | Link::Failed => health.set_ready(true, &failures),
            }
            gauge.set(f64::from(u8::from(is_usable)));
            if !matches!(shutdown.run_until_cancelled(self.heard.changed()).await, Some(Ok(()))) {
                return;
            }
        }
    }
}

async fn options(
    settings: &config::Nats,
    name: &str,
    hears: watch::Sender<Heard>,
) -> Result<ConnectOptions, NatsError> {
    let (url, looks) = (settings.url.clone(), hears.clone());
    let mut options = ConnectOptions::new()
        .name(format!("agora {name}"))
        .retry_on_initial_connect()
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING)
        .reconnect_delay_callback(|attempts| {
            let pause = 10_u64 << attempts.min(7);
            Duration::from_millis(pause.min(MAX_PAUSE_MS))
        })
        .event_callback(move |event| {
            if let Some(link) = hear(&event) {
                let changed = hears.send_if_modified(|heard| {
                    // Another server of a cluster that cannot be reached does not change it.
                    if heard.link == Link::Refused && link == Link::Failed {
                        return false;
                    }
                    if link == Link::Connected {
                        heard.failures = Failures::default();
                    }
                    // A new connection may be to another server: it counts each time.
                    let changed = heard.link != link || link == Link::Connected;
                    heard.link = link;
                    changed
                });
                if changed && link == Link::Refused {
                    tracing::error!(url, "{REFUSED}");
                }
            }
            async {}
        })
        // Asked before each round of tries which server to take: whichever. The event of a
        // failed round names the kind of its error alone; why each server failed stands here.
        .reconnect_to_server_callback(move |servers, _| {
            let looks = looks.clone();
            async move {
                let failures = failures::of(&servers).await;
                looks.send_if_modified(|heard| heard.failures.note(failures));
                None
            }
        });
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    }
    if let Some(path) = &settings.credentials_file {
        let read = options.credentials_file(path).await;
        options = read.map_err(|source| NatsError::Credentials { path: path.clone(), source })?;
    }
    let tls = Tls {
        ca_file: settings.ca_file.as_deref(),
        cert_file: settings.cert_file.as_deref(),
        key_file: settings.key_file.as_deref(),
    };
    Ok(tls.apply(options, Names::SETTINGS)?)
}

/// Logs an event of the connection, and says what it means for it.
fn hear(event: &Event) -> Option<Link> {
    match event {
        Event::Connected => {
            tracing::info!("NATS is connected");
            Some(Link::Connected)
        }
        Event::Disconnected => {
            tracing::warn!("NATS is disconnected");
            Some(Link::Failed)
        }
        Event::ClientError(error) => {
            Some(if is_refusal(error) { Link::Refused } else { Link::Failed })
        }
        Event::SlowConsumer(subscription) => {
            tracing::error!(subscription, "slow NATS consumer: messages were dropped");
            None
        }
        Event::ServerError(error) => {
            tracing::error!(%error, "NATS server error");
            None
        }
        Event::LameDuckMode => {
            tracing::info!("the nats-server is about to stop (lame duck mode)");
            None
        }
        Event::Draining | Event::Closed => None,
    }
}

/// How a server that was reached does not let this process in.
const REFUSALS: [ConnectErrorKind; 2] =
    [ConnectErrorKind::AuthorizationViolation, ConnectErrorKind::Authentication];

fn is_refusal(error: &ClientError) -> bool {
    let ClientError::Other(error) = error else { return false };
    REFUSALS.iter().any(|kind| *error == kind.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_by_several_addresses() {
        let servers = config::nats_servers("nats://a:4222, nats://b:4222,");
        assert_eq!(servers, ["nats://a:4222", "nats://b:4222"]);
    }

    #[tokio::test]
    async fn every_address_must_be_one() {
        let url = "nats://127.0.0.1:4222,:".to_owned();
        let settings = config::Nats { url, ..Default::default() };
        let refused = Nats::connect(&settings, "test").await.err().unwrap();
        assert!(matches!(refused, NatsError::Url { .. }), "{refused}");
    }
}
