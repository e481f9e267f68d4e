//! Bugs that are planted, each with what provokes it: a harness that misses one is not
//! done. The program is to be built with the feature `planted`.

use std::time::Duration;

use bus_schema::Source;

use super::plan::{Fault, Place, Plan, Step};
use crate::Service;

/// A bug, and what shows it.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// As the program knows it.
    pub name: &'static str,
    place: Place,
    faults: &'static [Fault],
}

const FILES: Place = Place::SQLITE;
const SERVER: Place = Place::POSTGRES;
const REPLICAS: Place = Place::REPLICAS;
const CLUSTER: Place = Place::CLUSTER;

const LONG: Duration = Duration::from_millis(4_500);
const KILL_COMMENT: Fault = Fault::KillService(Service::Comment, 0);
const KILL_MODERATION: Fault = Fault::KillService(Service::Moderation, 0);
const AFTER_BACKUP: &[Fault] =
    &[Fault::RestoreBackup(Service::Comment), Fault::RestoreBackup(Service::Comment)];
const CUTS: &[Fault] = &[
    Fault::DelayConnections(Duration::from_millis(120), Duration::from_millis(1_500)),
    Fault::CutConnections,
    Fault::DelayConnections(Duration::from_millis(120), Duration::from_millis(1_500)),
    Fault::CutConnections,
    Fault::PauseService(Service::Comment, 0, LONG),
    Fault::PauseService(Service::Comment, 1, LONG),
    Fault::PauseService(Service::Comment, 2, LONG),
];

/// All of them.
pub const ALL: [Planted; 21] = [
    Planted { name: "publish-without-the-fence", place: REPLICAS, faults: CUTS },
    Planted { name: "answer-without-a-commit", place: FILES, faults: &[KILL_COMMENT] },
    Planted {
        name: "checkpoint-outside-the-transaction",
        place: FILES,
        faults: &[KILL_MODERATION, KILL_MODERATION, KILL_MODERATION, KILL_MODERATION],
    },
    Planted { name: "request-id-ignored", place: FILES, faults: &[] },
    Planted { name: "sequence-from-memory", place: REPLICAS, faults: &[] },
    Planted {
        name: "fallback-without-the-approval-filter",
        place: FILES,
        faults: &[Fault::PauseService(Service::Query, 0, LONG), Fault::KillNats(LONG)],
    },
    Planted {
        name: "decision-on-the-newest-revision",
        place: FILES,
        // Comments are changed before they are decided on.
        faults: &[Fault::PauseService(Service::Moderation, 0, LONG)],
    },
    Planted {
        name: "position-not-awaited",
        place: FILES,
        faults: &[Fault::DelayConnections(
            Duration::from_millis(100),
            Duration::from_millis(1_000),
        )],
    },
    Planted { name: "tail-not-imported", place: FILES, faults: AFTER_BACKUP },
    Planted { name: "gate-never-closed", place: FILES, faults: AFTER_BACKUP },
    Planted { name: "event-dropped", place: FILES, faults: &[] },
    Planted { name: "counts-not-kept", place: FILES, faults: &[] },
    Planted { name: "both-decisions-win", place: FILES, faults: &[] },
    Planted { name: "view-without-approval", place: FILES, faults: &[] },
    Planted { name: "chain-without-the-previous-hash", place: FILES, faults: &[] },
    Planted {
        name: "rewind-in-place",
        place: FILES,
        faults: &[Fault::TakeBack(Source::Comment), Fault::TakeBack(Source::Comment)],
    },
    Planted {
        name: "join-by-revision-number",
        place: FILES,
        // Numbers are given anew, to what other events make.
        faults: &[Fault::TakeBack(Source::Comment), Fault::TakeBack(Source::Comment)],
    },
    Planted {
        name: "refill-without-proof",
        place: FILES,
        faults: &[Fault::RestoreBesideDamage(Source::Comment)],
    },
    Planted {
        name: "relay-trusts-direct-get",
        place: CLUSTER,
        faults: &[Fault::RestoreBesideLag(Source::Comment)],
    },
    Planted { name: "backup-unnoticed", place: SERVER, faults: AFTER_BACKUP },
    Planted {
        name: "installation-ignored",
        place: FILES,
        faults: &[Fault::Intrude(Service::Comment)],
    },
];

impl Planted {
    /// What is done to show it.
    pub fn plan(&self) -> Plan {
        let pause = Duration::from_millis(1_500);
        let steps = self.faults.iter().map(|fault| Step { pause, fault: *fault });
        // The streams are used for a while, whatever else happens.
        let last = Step { pause: 2 * pause, fault: Fault::DeleteStream(Source::Post) };
        Plan { seed: 1, place: self.place, steps: steps.chain([last]).collect() }
    }
}
