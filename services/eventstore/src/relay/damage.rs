use std::sync::atomic::{AtomicBool, Ordering};

use bus_schema::Source;
use metrics::{Gauge, Unit};

/// Whether a stream is known to be damaged, for metrics: at its ends, which are compared
/// again and again, or within, which only reading all of it tells.
pub(super) struct Damage {
    gauge: Gauge,
    at_ends: AtomicBool,
    within: AtomicBool,
}

impl Damage {
    pub(super) fn new(source: Source) -> Self {
        metrics::describe_gauge!(
            "agora_stream_damaged",
            Unit::Count,
            "1 while a source's stream lacks messages or holds some that do not verify"
        );
        let gauge = metrics::gauge!("agora_stream_damaged", "source" => source.as_str());
        gauge.set(0.0);
        Self { gauge, at_ends: AtomicBool::new(false), within: AtomicBool::new(false) }
    }

    /// Notes what comparing the ends has found.
    pub(super) fn at_ends(&self, damaged: bool) {
        self.at_ends.store(damaged, Ordering::Release);
        self.tell();
    }

    /// Notes what reading the whole stream has found.
    pub(super) fn within(&self, damaged: bool) {
        self.within.store(damaged, Ordering::Release);
        self.tell();
    }

    fn tell(&self) {
        let damaged = self.at_ends.load(Ordering::Acquire) || self.within.load(Ordering::Acquire);
        self.gauge.set(f64::from(u8::from(damaged)));
    }
}
