//! Which faults, when: everything follows from a seed.

use std::{fmt, time::Duration};

use bus_schema::Source;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{Databases, Disk, Service};

/// How long it is quiet between two faults, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 300..2_500;
/// How long something is away or hangs, in milliseconds.
const OUTAGE_MS: std::ops::Range<u64> = 200..4_000;
/// By how much a clock goes wrong, in seconds: more than the leeway of tokens, and less
/// than their lifetime.
const JUMP_S: [i64; 4] = [2, 45, 600, 7_200];

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What everything follows from.
    pub seed: u64,
    /// What it is made on.
    pub place: Place,
    /// The faults, in order.
    pub steps: Vec<Step>,
}

/// What a run is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the services keep what they own.
    pub databases: Databases,
    /// How many NATS servers there are.
    pub nats_servers: usize,
}

impl Place {
    /// SQLite files, one process a service.
    pub const SQLITE: Self = Self { databases: Databases::Files, nats_servers: 1 };
    /// PostgreSQL, one process a service.
    pub const POSTGRES: Self =
        Self { databases: Databases::Postgres { replicas: 1 }, nats_servers: 1 };
    /// PostgreSQL, three replicas of each service.
    pub const REPLICAS: Self =
        Self { databases: Databases::Postgres { replicas: 3 }, nats_servers: 1 };
    /// SQLite files, and a NATS cluster.
    pub const CLUSTER: Self = Self { databases: Databases::Files, nats_servers: 3 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.databases {
            Databases::Files => write!(f, "SQLite")?,
            Databases::Postgres { replicas: 1 } => write!(f, "PostgreSQL, 1 replica")?,
            Databases::Postgres { replicas } => write!(f, "PostgreSQL, {replicas} replicas")?,
        }
        match self.nats_servers {
            1 => Ok(()),
            servers => write!(f, ", {servers} NATS servers"),
        }
    }
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
    /// One server of a NATS cluster is killed with SIGKILL, and away for this long.
    KillNode(usize, Duration),
    /// One server of a NATS cluster hangs (SIGSTOP).
    PauseNode(usize, Duration),
    /// One server of a NATS cluster is stopped and started.
    RestartNode(usize),
    /// A NATS server is killed, and the end of its file of a stream is cut off.
    TruncateStream(Source, usize),
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
    /// PostgreSQL is killed with SIGKILL, and a standby takes its place that has not heard
    /// of what was written for so long.
    FailOver(Duration),
    /// The databases are replaced by their backup.
    RestoreBackup(Service),
    /// A database is replaced by its backup, and the stream is damaged where that ends; after
    /// a while the database is there again that was replaced.
    RestoreBesideDamage(Source),
    /// A database is replaced by its backup, and for a while the services reach only a NATS
    /// server that is behind the others and that these do not reach.
    RestoreBesideLag(Source),
    /// A database is lost.
    LoseDatabase(Service),
    /// A disk has no room left, for so long after that was noticed.
    FillDisk(Disk, Duration),
    /// The clock of a replica of a service goes wrong by so many seconds, for some time.
    JumpClock(Service, usize, i64, Duration),
    /// That of PostgreSQL does.
    JumpPostgres(i64, Duration),
    /// The view is lost.
    LoseView,
    /// The view is made anew beside the one that is served.
    RebuildView,
    /// A service's database and its stream go back together by some moments.
    TakeBack(Source),
    /// A service of another installation starts on the same NATS server, with an empty database.
    Intrude(Service),
    /// A journal gets an event of a type that no program knows, and more of the same
    /// aggregate after it.
    Poison(Source),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillService(service, replica) => write!(f, "kill {service} {replica}"),
            Self::PauseService(service, replica, time) => {
                write!(f, "pause {service} {replica} for {} ms", time.as_millis())
            }
            Self::KillNats(time) => write!(f, "kill NATS for {} ms", time.as_millis()),
            Self::RestartNats => write!(f, "restart NATS"),
            Self::KillNode(node, time) => {
                write!(f, "kill NATS server {node} for {} ms", time.as_millis())
            }
            Self::PauseNode(node, time) => {
                write!(f, "pause NATS server {node} for {} ms", time.as_millis())
            }
            Self::RestartNode(node) => write!(f, "restart NATS server {node}"),
            Self::TruncateStream(source, node) => {
                write!(f, "cut the tail of the stream of {source} off on NATS server {node}")
            }
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
            Self::FailOver(time) => {
                write!(f, "fail over to a standby that is {} ms behind", time.as_millis())
            }
            Self::RestoreBackup(service) => write!(f, "restore the backup of {service}"),
            Self::RestoreBesideDamage(source) => {
                write!(f, "restore the backup of {source} beside a damaged stream")
            }
            Self::RestoreBesideLag(source) => {
                write!(f, "restore the backup of {source} beside a NATS server that is behind")
            }
            Self::LoseDatabase(service) => write!(f, "lose the database of {service}"),
            Self::FillDisk(disk, time) => {
                write!(f, "fill the disk of {disk} for {} ms", time.as_millis())
            }
            Self::JumpClock(service, replica, seconds, time) => write!(
                f,
                "have the clock of {service} {replica} go wrong by {seconds:+} s for {} ms",
                time.as_millis()
            ),
            Self::JumpPostgres(seconds, time) => write!(
                f,
                "have the clock of PostgreSQL go wrong by {seconds:+} s for {} ms",
                time.as_millis()
            ),
            Self::LoseView => write!(f, "lose the view"),
            Self::RebuildView => write!(f, "rebuild the view"),
            Self::TakeBack(source) => write!(f, "take {source} back, its database and its stream"),
            Self::Intrude(service) => {
                write!(f, "start another installation's {service} on the same NATS server")
            }
            Self::Poison(source) => write!(f, "poison the journal of {source}"),
        }
    }
}

impl Fault {
    /// Which streams may be made anew because of it.
    pub(super) fn damages(&self) -> &[Source] {
        match self {
            Self::TruncateStream(source, _)
            | Self::DeleteStream(source)
            | Self::FlipByte(source)
            | Self::RestoreBesideDamage(source)
            | Self::TakeBack(source) => std::slice::from_ref(source),
            Self::FillDisk(Disk::Nats, _) => &Source::ALL,
            _ => &[],
        }
    }

    /// Whether the owner of a source has to fold its stream after it.
    fn folds(&self, source: Source, databases: Databases) -> bool {
        match self {
            // All databases are put back together.
            Self::RestoreBackup(_) if databases != Databases::Files => true,
            Self::FailOver(_) => true,
            Self::RestoreBackup(service) | Self::LoseDatabase(service) => {
                *service == Service::of(source)
            }
            _ => false,
        }
    }
}

impl Plan {
    /// The plan of a seed, with so many faults. Each kind comes before any comes again; one
    /// journal is poisoned, late, as a database that has lost such an event is not made
    /// again from the stream by a program that does not know it.
    pub fn new(seed: u64, place: Place, faults: usize) -> Self {
        let mut draw = Draw { rng: StdRng::seed_from_u64(seed), place };
        let poisoned = Source::ALL[draw.rng.random_range(0..Source::ALL.len())];
        let poison_at = faults - faults / 4;
        let mut kinds = Vec::new();
        let mut steps = Vec::with_capacity(faults);
        while steps.len() < faults {
            if kinds.is_empty() {
                kinds = draw.kinds();
            }
            let kind = kinds.swap_remove(draw.rng.random_range(0..kinds.len()));
            let mut fault = kind(&mut draw);
            if steps.len() == poison_at {
                kinds.push(kind);
                fault = Fault::Poison(poisoned);
            } else if steps.len() > poison_at && fault.folds(poisoned, place.databases) {
                continue;
            }
            let pause = draw.millis(PAUSE_MS);
            steps.push(Step { pause, fault });
        }
        Self { seed, place, steps }
    }
}

/// Where a plan's numbers come from.
struct Draw {
    rng: StdRng,
    place: Place,
}

/// A kind of fault: gives one of it.
type Kind = fn(&mut Draw) -> Fault;

/// What can fail wherever the services keep what they own. What happens most often in life
/// stands twice.
const EVERYWHERE: &[Kind] = &[
    |draw| Fault::KillService(draw.service(), draw.replica()),
    |draw| Fault::KillService(draw.service(), draw.replica()),
    |draw| Fault::PauseService(draw.service(), draw.replica(), draw.outage()),
    |draw| Fault::PauseService(draw.service(), draw.replica(), draw.outage()),
    |draw| Fault::KillNats(draw.outage()),
    |_| Fault::RestartNats,
    |draw| Fault::TruncateStream(draw.source(), draw.node()),
    |draw| Fault::DeleteStream(draw.source()),
    |_| Fault::CutConnections,
    |draw| Fault::DelayConnections(draw.millis(5..200), draw.outage()),
    |draw| Fault::RestoreBackup(draw.owner()),
    |draw| Fault::LoseDatabase(draw.owner()),
    |draw| Fault::TakeBack([Source::Comment, Source::Moderation][draw.rng.random_range(0..2)]),
    |draw| Fault::JumpClock(draw.service(), draw.replica(), draw.jump(), draw.outage()),
    |draw| Fault::FillDisk(Disk::Service(Service::Query), draw.outage()),
    |_| Fault::LoseView,
    |_| Fault::RebuildView,
    |draw| Fault::Intrude(draw.service()),
];

/// What can fail if there is one NATS server. Nobody notices a byte that a cluster has on
/// two other servers, too.
const ON_ONE_SERVER: &[Kind] =
    &[|draw| Fault::FlipByte(draw.source()), |draw| Fault::FillDisk(Disk::Nats, draw.outage())];

/// What can fail if there are several.
const ON_CLUSTER: &[Kind] = &[
    |draw| Fault::KillNode(draw.node(), draw.outage()),
    |draw| Fault::PauseNode(draw.node(), draw.outage()),
    |draw| Fault::RestartNode(draw.node()),
    |draw| Fault::RestoreBesideLag(draw.source()),
];

/// What can fail on SQLite.
const ON_FILES: &[Kind] = &[|draw| Fault::FillDisk(Disk::Service(draw.owner()), draw.outage())];

/// What can fail on SQLite with one NATS server.
const ON_FILES_AND_ONE_SERVER: &[Kind] = &[|draw| Fault::RestoreBesideDamage(draw.source())];

/// What can fail on PostgreSQL.
const ON_POSTGRES: &[Kind] = &[
    |draw| Fault::KillPostgres(draw.outage()),
    |draw| Fault::FailOver(draw.outage()),
    |draw| Fault::JumpPostgres(draw.jump(), draw.outage()),
];

impl Draw {
    fn kinds(&self) -> Vec<Kind> {
        let databases = match self.place.databases {
            Databases::Files => ON_FILES,
            Databases::Postgres { .. } => ON_POSTGRES,
        };
        let servers = if self.place.nats_servers == 1 { ON_ONE_SERVER } else { ON_CLUSTER };
        let both = if self.place == Place::SQLITE { ON_FILES_AND_ONE_SERVER } else { &[] };
        [EVERYWHERE, databases, servers, both].concat()
    }

    fn node(&mut self) -> usize {
        self.rng.random_range(0..self.place.nats_servers)
    }

    fn replica(&mut self) -> usize {
        match self.place.databases {
            Databases::Files => 0,
            Databases::Postgres { replicas } => self.rng.random_range(0..replicas),
        }
    }

    fn service(&mut self) -> Service {
        Service::ALL[self.rng.random_range(0..Service::ALL.len())]
    }

    fn owner(&mut self) -> Service {
        Service::OWNERS[self.rng.random_range(0..Service::OWNERS.len())]
    }

    fn source(&mut self) -> Source {
        Source::ALL[self.rng.random_range(0..Source::ALL.len())]
    }

    fn outage(&mut self) -> Duration {
        self.millis(OUTAGE_MS)
    }

    fn jump(&mut self) -> i64 {
        let seconds = JUMP_S[self.rng.random_range(0..JUMP_S.len())];
        if self.rng.random_bool(0.5) { seconds } else { -seconds }
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, mem::discriminant};

    use super::*;

    const PLACES: [Place; 3] = [Place::SQLITE, Place::REPLICAS, Place::CLUSTER];

    #[test]
    fn a_seed_gives_the_same_plan_again() {
        assert_eq!(Plan::new(7, Place::REPLICAS, 40), Plan::new(7, Place::REPLICAS, 40));
        assert_ne!(
            Plan::new(7, Place::REPLICAS, 40).steps,
            Plan::new(8, Place::REPLICAS, 40).steps
        );
    }

    #[test]
    fn every_kind_comes_before_any_comes_a_third_time() {
        for place in PLACES {
            let mut draw = Draw { rng: StdRng::seed_from_u64(1), place };
            let kinds = draw.kinds();
            let all: HashSet<_> = kinds.iter().map(|kind| discriminant(&kind(&mut draw))).collect();
            // The last ones of a round may be left out once a journal is poisoned.
            let plan = Plan::new(1, place, 2 * kinds.len());
            let first = plan.steps.iter().take(kinds.len());
            let found: HashSet<_> = first.map(|step| discriminant(&step.fault)).collect();
            assert_eq!(found, all);
        }
    }

    #[test]
    fn nobody_has_to_fold_a_poisoned_stream() {
        for (seed, place) in (0..20).flat_map(|seed| PLACES.map(|place| (seed, place))) {
            let plan = Plan::new(seed, place, 40);
            let faults: Vec<_> = plan.steps.iter().map(|step| step.fault).collect();
            let is_poison = |fault: &Fault| matches!(fault, Fault::Poison(_));
            let at = faults.iter().position(is_poison).expect("no poison");
            let Fault::Poison(source) = faults[at] else { unreachable!() };
            assert!(!faults[at..].iter().any(|fault| fault.folds(source, place.databases)));
        }
    }
}
