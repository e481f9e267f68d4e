use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::{export, samples::Samples};
use crate::version::PROGRAM;

/// The upper bounds of histograms of seconds.
const SECONDS: [f64; 14] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// The upper bounds of histograms of how much is done at once.
const SIZES: [f64; 13] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0];
/// How often what histograms have gathered is folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of this process: many hosts may run in one, as tests do.
static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
/// What the system says of this process.
static PROCESS: LazyLock<Collector> = LazyLock::new(Collector::default);

fn handle() -> Option<&'static PrometheusHandle> {
    let handle = METRICS.get_or_init(|| {
        let installed =
            build().inspect_err(|error| tracing::error!(%error, "there are no metrics"));
        PROCESS.describe();
        export::describe();
        installed.ok()
    });
    handle.as_ref()
}

fn build() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_batch_size".into()), &SIZES)?
        .install_recorder()
}

/// Has the metrics of this process recorded, if they are not already.
pub(crate) fn install() {
    handle();
}

/// Says which program this is, and of which version.
pub(crate) fn tell_program(name: &str) {
    metrics::describe_gauge!(
        "agora_build_info",
        Unit::Count,
        "Always 1: which program of which version this is"
    );
    let labels = [("program", name.to_owned()), ("version", PROGRAM.to_owned())];
    metrics::gauge!("agora_build_info", &labels).set(1.0);
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
pub(crate) fn render(samples: &Samples) -> String {
    samples.take();
    PROCESS.collect();
    handle().map(PrometheusHandle::render).unwrap_or_default()
}
