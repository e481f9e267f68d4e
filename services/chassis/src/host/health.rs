use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

/// A service of `grpc.health.v1` that is SERVING as long as the process runs, whatever its
/// parts say: who finds it silent may kill the process.
pub const LIVENESS: &str = "liveness";

/// Whether a part of the process can do its work.
#[derive(Clone)]
pub struct Health {
    part: Arc<str>,
    parts: Parts,
}

/// Every part of a process, by name.
#[derive(Clone)]
pub(super) struct Parts(Arc<watch::Sender<BTreeMap<Arc<str>, Part>>>);

#[derive(Clone, Debug, PartialEq)]
struct Part {
    is_ready: bool,
    detail: String,
}

impl Health {
    /// Says whether the part is ready, and in words why or why not.
    ///
    /// Once it was ready it stays so: what befalls it later, as the loss of NATS or of
    /// PostgreSQL, befalls all replicas at the same time. Were they all taken out of rotation
    /// for it, nobody would answer what they still can.
    pub fn set_ready(&self, ready: bool, detail: &str) {
        self.set(|before| ready || before, detail);
    }

    /// Says that the part is not ready any more, as the process ends, or was never of use.
    pub(super) fn end(&self, detail: &str) {
        self.set(|_| false, detail);
    }

    fn set(&self, ready: impl Fn(bool) -> bool, detail: &str) {
        let mut is_ready = false;
        let changed = self.parts.0.send_if_modified(|parts| {
            let before = parts.get(&self.part);
            is_ready = ready(before.is_some_and(|part| part.is_ready));
            let now = Part { is_ready, detail: detail.to_owned() };
            let changed = before != Some(&now);
            parts.insert(self.part.clone(), now);
            changed
        });
        if changed {
            tracing::info!(part = %self.part, ready = is_ready, detail, "health");
        }
    }
}

impl Parts {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }

    /// A part, which is not ready until it says so.
    pub(super) fn part(&self, name: &str) -> Health {
        let part: Arc<str> = name.into();
        let starting = Part { is_ready: false, detail: "starting".into() };
        self.0.send_modify(|parts| {
            parts.entry(part.clone()).or_insert(starting);
        });
        Health { part, parts: self.clone() }
    }

    /// Whether all parts are ready, and what each says, a line for each.
    pub(super) fn report(&self) -> (bool, String) {
        let parts = self.0.borrow();
        let mut lines = String::new();
        for (name, part) in parts.iter() {
            let state = if part.is_ready { "ready" } else { "not ready" };
            writeln!(lines, "{name}: {state}: {}", part.detail).expect("a text grows");
        }
        (is_ready(&parts), lines)
    }

    /// Tells `grpc.health.v1` whether all parts are ready: for the whole server, which
    /// has the empty name, and for every service in it.
    pub(super) async fn tell(
        self,
        reporter: HealthReporter,
        services: Vec<&'static str>,
        ended: CancellationToken,
    ) {
        let mut parts = self.0.subscribe();
        let mut told = is_ready(&parts.borrow());
        loop {
            let status = if told { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in services.iter().chain([&""]) {
                reporter.set_service_status(service, status).await;
            }
            // The reporter passes on what is no change, too, and a watch hears of changes only.
            let changed = parts.wait_for(|parts| is_ready(parts) != told);
            let Some(Ok(_)) = ended.run_until_cancelled(changed).await else { return };
            told = !told;
        }
    }
}

fn is_ready(parts: &BTreeMap<Arc<str>, Part>) -> bool {
    parts.values().all(|part| part.is_ready)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus as Status,
        health_client::HealthClient,
    };

    use super::*;

    #[tokio::test]
    async fn a_watch_hears_of_changes_only() {
        let parts = Parts::new();
        let health = parts.part("view");
        let (reporter, server) = tonic_health::server::health_reporter();
        let telling = tokio::spawn(parts.tell(reporter, vec!["some"], CancellationToken::new()));
        let request = HealthCheckRequest { service: String::new() };
        let mut watch = HealthClient::new(server).watch(request).await.unwrap().into_inner();
        // None after so many milliseconds of silence.
        let mut hears = async |patience_ms| {
            let heard = timeout(Duration::from_millis(patience_ms), watch.message()).await.ok()?;
            Some(heard.unwrap().unwrap().status())
        };

        while hears(10_000).await.expect("a first status") != Status::NotServing {}
        health.set_ready(false, "catching up");
        assert_eq!(hears(100).await, None, "only the words are others");
        health.set_ready(true, "it has caught up");
        assert_eq!(hears(10_000).await, Some(Status::Serving));
        health.set_ready(true, "nothing comes");
        health.set_ready(false, "the bus is away");
        assert_eq!(hears(100).await, None, "it stays ready");
        health.end("the process ends");
        assert_eq!(hears(10_000).await, Some(Status::NotServing));
        telling.abort();
    }
}
