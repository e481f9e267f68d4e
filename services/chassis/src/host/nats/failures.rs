//! Why there is no connection to NATS: logged once for each error, and kept for health.

use std::{collections::HashSet, fmt, time::Duration};

use async_nats::{ConnectErrorKind, Server};
use futures::future::join_all;
use tokio::{net, time::timeout};

use super::REFUSALS;

/// How long a look-up of a server's address may take. The client does not say why its own
/// failed.
const LOOK_UP: Duration = Duration::from_secs(1);

/// What has failed since there was a connection.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Why each server was not reached when it was last tried.
    last: Vec<Failure>,
    /// Errors that were logged.
    logged: HashSet<Key>,
}

/// Why a server was not reached.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    server: String,
    error: String,
}

/// A server, and its error without numbers: some errors hold the time, and differ at each try.
type Key = (String, String);

impl Failure {
    fn key(&self) -> Key {
        let words = self.error.chars().filter(|it| !it.is_ascii_digit());
        (self.server.clone(), words.collect())
    }
}

impl Failures {
    /// Notes why servers were not reached, and logs what is new. Returns whether health has
    /// anything else to say.
    pub(super) fn note(&mut self, failures: Vec<Failure>) -> bool {
        for failure in &failures {
            if self.logged.insert(failure.key()) {
                let Failure { server, error } = failure;
                tracing::warn!(server, error, "NATS cannot be reached");
            }
        }
        let known = self.last.iter().map(Failure::key);
        if failures.is_empty() || failures.iter().map(Failure::key).eq(known) {
            return false;
        }
        self.last = failures;
        true
    }
}

/// What health says.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not connected")?;
        for (number, Failure { server, error }) in self.last.iter().enumerate() {
            let before = if number == 0 { ":" } else { ";" };
            write!(f, "{before} {server}: {error}")?;
        }
        Ok(())
    }
}

/// Why servers were not reached when they were last tried.
pub(super) async fn of(servers: &[Server]) -> Vec<Failure> {
    join_all(servers.iter().map(failure)).await.into_iter().flatten().collect()
}

async fn failure(server: &Server) -> Option<Failure> {
    let (host, port) = (server.addr.host(), server.addr.port());
    let error = match timeout(LOOK_UP, net::lookup_host((host, port))).await {
        Ok(Ok(_)) => server.last_error.clone()?,
        Ok(Err(error)) => format!("{}: {error}", ConnectErrorKind::Dns),
        Err(_) => format!("{}: no answer in {} s", ConnectErrorKind::Dns, LOOK_UP.as_secs()),
    };
    // Refused credentials are no failure to reach a server, and are told apart.
    if REFUSALS.iter().any(|kind| error.starts_with(&kind.to_string())) {
        return None;
    }
    Some(Failure { server: format!("{host}:{port}"), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(server: &str, error: &str) -> Failure {
        Failure { server: server.to_owned(), error: error.to_owned() }
    }

    #[test]
    fn health_names_every_server_and_changes_with_the_error_alone() {
        let mut failures = Failures::default();
        assert_eq!(failures.to_string(), "not connected");
        assert!(!failures.note(Vec::new()));
        let expired = |seconds| failure("a:1", &format!("expired {seconds} s ago"));
        assert!(failures.note(vec![expired(10), failure("b:2", "refused")]));
        assert_eq!(failures.to_string(), "not connected: a:1: expired 10 s ago; b:2: refused");
        assert!(!failures.note(vec![expired(11), failure("b:2", "refused")]));
        assert_eq!(failures.logged.len(), 2);
        assert!(failures.note(vec![expired(12), failure("b:2", "timed out")]));
        assert!(failures.note(vec![failure("b:2", "refused")]));
        assert_eq!(failures.logged.len(), 3, "each error is logged once");
    }
}
