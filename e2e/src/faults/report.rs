//! What a run has come to, for people and for programs.

use std::time::Duration;

use serde::Serialize;

/// What a run has come to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What everything followed from.
    pub seed: u64,
    /// What it was made on.
    pub place: String,
    /// What was injected, in order.
    pub faults: Vec<String>,
    /// How long clients worked, in seconds.
    pub seconds: f64,
    /// How many operations were begun.
    pub operations: u64,
    /// How many calls were made again.
    pub retries: u64,
    /// How many operations were given up: nobody knows whether they have an effect.
    pub given_up: u64,
    /// How many writes were answered OK.
    pub acknowledged: u64,
    /// How many more were, of which a source was taken back with its stream.
    pub taken_back: u64,
    /// How many of them are missing.
    pub lost: u64,
    /// How many requests have more than one effect.
    pub doubled: u64,
    /// How many reads were answered, and how many of them from the owners' databases.
    pub reads: u64,
    /// How many reads the owners have answered.
    pub from_owners: u64,
    /// The longest time from the first call of a write to its OK, in seconds.
    pub slowest_write: f64,
    /// How many events the journals hold.
    pub events: u64,
    /// From the last fault until everything was equal everywhere, in seconds.
    pub heal: Option<f64>,
    /// What does not hold, each beginning with the number of an invariant.
    pub findings: Vec<String>,
}

impl Report {
    /// Whether everything held.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty() && self.lost == 0 && self.doubled == 0 && self.heal.is_some()
    }

    /// For people.
    pub fn text(&self) -> String {
        let verdict = if self.is_good() { "all invariants held" } else { "FAILED" };
        let heal = self.heal.map_or("never".to_owned(), |heal| format!("{heal:.1} s"));
        let mut lines = vec![
            format!("seed {} on {}: {verdict}", self.seed, self.place),
            format!("  faults        {}", self.faults.len()),
            format!(
                "  operations    {} in {:.0} s, {} calls made again, {} given up",
                self.operations, self.seconds, self.retries, self.given_up
            ),
            format!(
                "  acknowledged  {}, lost {}, doubled {}; {} more went with their stream",
                self.acknowledged, self.lost, self.doubled, self.taken_back
            ),
            format!("  reads         {}, {} of them by the owners", self.reads, self.from_owners),
            format!("  slowest write {:.1} s", self.slowest_write),
            format!("  events        {}", self.events),
            format!("  time to heal  {heal}"),
        ];
        const SHOWN: usize = 20;
        lines.extend(self.findings.iter().take(SHOWN).map(|finding| format!("  {finding}")));
        if self.findings.len() > SHOWN {
            lines.push(format!("  … and {} more", self.findings.len() - SHOWN));
        }
        lines.join("\n")
    }
}

/// A time in seconds.
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
