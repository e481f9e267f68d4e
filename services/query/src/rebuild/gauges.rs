use metrics::{Gauge, Unit};

use super::{Phase, Progress};

/// What the metrics say of a rebuild, as long as this lives; then that none runs.
pub(super) struct Gauges {
    running: Gauge,
    done: Gauge,
    total: Gauge,
}

impl Gauges {
    /// No rebuild runs.
    pub(super) fn describe() {
        metrics::describe_gauge!(
            "agora_rebuild_running",
            Unit::Count,
            "1 while a view is rebuilt beside the one that is served"
        );
        metrics::describe_gauge!(
            "agora_rebuild_phase",
            Unit::Count,
            "1 for what a running rebuild does"
        );
        metrics::describe_gauge!(
            "agora_rebuild_done_events",
            Unit::Count,
            "How many events a running rebuild has folded"
        );
        metrics::describe_gauge!(
            "agora_rebuild_total_events",
            Unit::Count,
            "How many events a running rebuild has to fold"
        );
        drop(Self::start());
    }

    /// A rebuild runs.
    pub(super) fn start() -> Self {
        let gauges = Self {
            running: metrics::gauge!("agora_rebuild_running"),
            done: metrics::gauge!("agora_rebuild_done_events"),
            total: metrics::gauge!("agora_rebuild_total_events"),
        };
        gauges.running.set(1.0);
        gauges
    }

    /// How far it is.
    pub(super) fn tell(progress: Progress) {
        metrics::gauge!("agora_rebuild_done_events").set(progress.done as f64);
        metrics::gauge!("agora_rebuild_total_events").set(progress.total as f64);
        set_phase(Some(progress.phase));
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.running.set(0.0);
        self.done.set(0.0);
        self.total.set(0.0);
        set_phase(None);
    }
}

fn set_phase(now: Option<Phase>) {
    let phases = [
        (Phase::Folding, "folding"),
        (Phase::Indexing, "indexing"),
        (Phase::Comparing, "comparing"),
        (Phase::Switched, "switched"),
    ];
    for (phase, name) in phases {
        metrics::gauge!("agora_rebuild_phase", "phase" => name)
            .set(f64::from(u8::from(now == Some(phase))));
    }
}
