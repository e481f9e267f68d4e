use std::time::Duration;

use bus_schema::{Source, Time};
use chassis::telemetry::Commits;
use eventstore::delivery::Batch;
use metrics::{Histogram, Unit};

/// Measures how long it takes from the moment when an event was decided, just before its
/// writer was answered, until readers see what it did.
pub(crate) struct Visible {
    /// What happened before is left out: a view that is made anew, or was away, shows what
    /// others have shown long ago.
    since: Time,
    sources: [Histogram; Source::ALL.len()],
    commits: Commits,
}

impl Visible {
    /// From now on.
    pub(crate) fn new() -> Self {
        metrics::describe_histogram!(
            "agora_visible_seconds",
            Unit::Seconds,
            "How long it took from an event's acknowledgement until the view showed it"
        );
        let histogram = |source: Source| metrics::histogram!("agora_visible_seconds", "source" => source.as_str());
        let commits = Commits::new("query", "events");
        Self { since: Time::now(), sources: Source::ALL.map(histogram), commits }
    }

    /// These were folded in one transaction.
    pub(crate) fn folded(&self, batches: &[Batch], took: Duration) {
        self.commits.record(took, batches.iter().map(|batch| batch.deliveries.len()).sum());
    }

    /// Readers see these events from now on.
    pub(crate) fn seen(&self, batch: &Batch) {
        let histogram = &self.sources[batch.source as usize];
        for event in batch.deliveries.iter().filter_map(|delivery| delivery.event.as_ref().ok()) {
            if event.time >= self.since {
                histogram.record(event.time.elapsed());
            }
        }
    }
}
