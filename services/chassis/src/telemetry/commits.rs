use std::time::Duration;

use metrics::{Histogram, Unit};

/// What is measured of the transactions of one kind that a service commits.
pub struct Commits {
    duration: Histogram,
    size: Histogram,
}

impl Commits {
    /// Of a service: `work` is what it commits, `commands` or `events` of others.
    pub fn new(service: &'static str, work: &'static str) -> Self {
        metrics::describe_histogram!(
            "agora_commit_duration_seconds",
            Unit::Seconds,
            "How long transactions took from their begin until they were durable"
        );
        metrics::describe_histogram!(
            "agora_commit_batch_size",
            Unit::Count,
            "How many commands, or events of others, a transaction carried out"
        );
        let labels = [("service", service), ("work", work)];
        Self {
            duration: metrics::histogram!("agora_commit_duration_seconds", &labels),
            size: metrics::histogram!("agora_commit_batch_size", &labels),
        }
    }

    /// A transaction is durable.
    pub fn record(&self, took: Duration, size: usize) {
        self.duration.record(took);
        self.size.record(size as f64);
    }
}
