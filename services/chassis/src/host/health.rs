use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

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
    pub fn set_ready(&self, ready: bool, detail: &str) {
        let now = Part { is_ready: ready, detail: detail.to_owned() };
        let changed = self.parts.0.send_if_modified(|parts| {
            let before = parts.insert(self.part.clone(), now.clone());
            before.as_ref() != Some(&now)
        });
        if changed {
            tracing::info!(part = %self.part, ready, detail, "health");
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
        loop {
            let is_ready = is_ready(&parts.borrow_and_update());
            let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in services.iter().chain([&""]) {
                reporter.set_service_status(service, status).await;
            }
            if !matches!(ended.run_until_cancelled(parts.changed()).await, Some(Ok(()))) {
                return;
            }
        }
    }
}

fn is_ready(parts: &BTreeMap<Arc<str>, Part>) -> bool {
    parts.values().all(|part| part.is_ready)
}
