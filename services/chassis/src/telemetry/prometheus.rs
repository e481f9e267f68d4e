use std::{sync::OnceLock, time::Duration};

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::version::PROGRAM;

/// The upper bounds of histograms of seconds.
const SECONDS: [f64; 14] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// How often what histograms have gathered is folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of this process: many hosts may run in one, as tests do.
static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

fn handle() -> Option<&'static PrometheusHandle> {
    let handle = METRICS.get_or_init(|| {
        let buckets = Matcher::Suffix("_seconds".into());
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(buckets, &SECONDS)
            .and_then(PrometheusBuilder::install_recorder);
        builder.inspect_err(|error| tracing::error!(%error, "there are no metrics")).ok()
    });
    handle.as_ref()
}

/// Has the metrics of this process recorded, if they are not already.
pub(crate) fn install() {
    handle();
}

/// Says which program this is, and of which version.
pub(crate) fn tell_program(name: &str) {
    metrics::describe_gauge!(
        "agora_program",
        Unit::Count,
        "Always 1: which program of which version this is"
    );
    let labels = [("program", name.to_owned()), ("version", PROGRAM.to_owned())];
    metrics::gauge!("agora_program", &labels).set(1.0);
}

/// Keeps histograms small until the process shuts down.
pub(crate) async fn upkeep(shutdown: CancellationToken) {
    let mut every = interval(UPKEEP);
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        if let Some(handle) = handle() {
            handle.run_upkeep();
        }
    }
}

/// The metrics of this process in Prometheus' text format.
pub fn render() -> String {
    handle().map(PrometheusHandle::render).unwrap_or_default()
}
