//! Which faults, when: everything follows from a seed.

use std::{fmt, time::Duration};

use bus_schema::Source;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{Databases, Service};

/// How long it is quiet between two faults, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 300..2_500;
/// How long something is away or hangs, in milliseconds.
const OUTAGE_MS: std::ops::Range<u64> = 200..4_000;

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What everything follows from.
    pub seed: u64,
    /// Where the services keep what they own.
    pub databases: Databases,
    /// The faults, in order.
    pub steps: Vec<Step>,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// How long it is waited before.
    pub pause: Duration,
    /// What happens then.
    pub fault: Fault,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A replica of a service is killed with SIGKILL and started again.
    KillService(Service, usize),
    /// A replica of a service hangs (SIGSTOP).
    PauseService(Service, usize, Duration),
    /// NATS is killed with SIGKILL, and away for this long.
    KillNats(Duration),
    /// NATS is stopped and started.
    RestartNats,
    /// NATS is killed, and the end of a stream's file is cut off.
    TruncateStream(Source),
    /// A stream is deleted.
    DeleteStream(Source),
    /// NATS is stopped, and a byte in the middle of a stream's file is flipped.
    FlipByte(Source),
    /// Every connection to NATS is cut.
    CutConnections,
    /// Everything to and from NATS takes longer, for some time.
    DelayConnections(Duration, Duration),
    /// PostgreSQL is killed with SIGKILL, and away for this long.
    KillPostgres(Duration),
    /// The databases are replaced by their backup.
    RestoreBackup(Service),
    /// A database is lost.
    LoseDatabase(Service),
    /// The view is lost.
    LoseView,
    /// The view is made anew beside the one that is served.
    RebuildView,
}

/// What the issue asks for and this harness does not inject, and why.
pub const NOT_INJECTED: [(&str, &str); 5] = [
    ("NATS as a cluster of three", "one server is started"),
    ("a full disk", "no small file system is mounted"),
    ("clock jumps", "no libfaketime is loaded"),
    ("a failover to a standby that is behind", "no standby is started; backups are restored"),
    ("a poison event", "streams are fenced: nothing but the services writes to them"),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillService(service, replica) => write!(f, "kill {service} {replica}"),
            Self::PauseService(service, replica, time) => {
                write!(f, "pause {service} {replica} for {} ms", time.as_millis())
            }
            Self::KillNats(time) => write!(f, "kill NATS for {} ms", time.as_millis()),
            Self::RestartNats => write!(f, "restart NATS"),
            Self::TruncateStream(source) => write!(f, "cut the tail of the stream of {source} off"),
            Self::DeleteStream(source) => write!(f, "delete the stream of {source}"),
            Self::FlipByte(source) => write!(f, "flip a byte in the stream of {source}"),
            Self::CutConnections => write!(f, "cut the connections to NATS"),
            Self::DelayConnections(delay, time) => write!(
                f,
                "delay the connections to NATS by {} ms for {} ms",
                delay.as_millis(),
                time.as_millis()
            ),
            Self::KillPostgres(time) => write!(f, "kill PostgreSQL for {} ms", time.as_millis()),
            Self::RestoreBackup(service) => write!(f, "restore the backup of {service}"),
            Self::LoseDatabase(service) => write!(f, "lose the database of {service}"),
            Self::LoseView => write!(f, "lose the view"),
            Self::RebuildView => write!(f, "rebuild the view"),
        }
    }
}

impl Plan {
    /// The plan of a seed, with so many faults.
    pub fn new(seed: u64, databases: Databases, faults: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut kinds = Vec::new();
        let mut steps = Vec::with_capacity(faults);
        while steps.len() < faults {
            if kinds.is_empty() {
                // Each kind comes before any comes again.
                kinds = (0..KINDS).collect();
            }
            let kind = kinds.swap_remove(rng.random_range(0..kinds.len()));
            let Some(fault) = fault(kind, databases, &mut rng) else { continue };
            let pause = millis(&mut rng, PAUSE_MS);
            steps.push(Step { pause, fault });
        }
        Self { seed, databases, steps }
    }
}

/// How many kinds [`fault`] knows.
const KINDS: u32 = 16;

/// A fault of this kind, if it makes sense on these databases.
fn fault(kind: u32, databases: Databases, rng: &mut StdRng) -> Option<Fault> {
    let replicas = match databases {
        Databases::Files => 1,
        Databases::Postgres { replicas } => replicas,
    };
    let replica = rng.random_range(0..replicas);
    let service = Service::ALL[rng.random_range(0..Service::ALL.len())];
    let owner = [Service::Post, Service::Comment, Service::Moderation][rng.random_range(0..3)];
    let source = Source::ALL[rng.random_range(0..Source::ALL.len())];
    let outage = millis(rng, OUTAGE_MS);
    Some(match kind {
        // What happens most often in life comes twice.
        0 | 1 => Fault::KillService(service, replica),
        2 | 3 => Fault::PauseService(service, replica, outage),
        4 => Fault::KillNats(outage),
        5 => Fault::RestartNats,
        6 => Fault::TruncateStream(source),
        7 => Fault::DeleteStream(source),
        8 => Fault::FlipByte(source),
        9 => Fault::CutConnections,
        10 => Fault::DelayConnections(millis(rng, 5..200), outage),
        11 => match databases {
            Databases::Files => return None,
            Databases::Postgres { .. } => Fault::KillPostgres(outage),
        },
        12 => Fault::RestoreBackup(owner),
        13 => Fault::LoseDatabase(owner),
        14 => Fault::LoseView,
        _ => Fault::RebuildView,
    })
}

fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, mem::discriminant};

    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_again() {
        let databases = Databases::Postgres { replicas: 3 };
        assert_eq!(Plan::new(7, databases, 40), Plan::new(7, databases, 40));
        assert_ne!(Plan::new(7, databases, 40).steps, Plan::new(8, databases, 40).steps);
    }

    #[test]
    fn every_kind_comes_before_any_comes_a_third_time() {
        let plan = Plan::new(1, Databases::Postgres { replicas: 2 }, KINDS as usize);
        let kinds: HashSet<_> = plan.steps.iter().map(|step| discriminant(&step.fault)).collect();
        // Two kinds come twice.
        assert_eq!(kinds.len() as u32, KINDS - 2);
    }
}
