//! Bugs that are planted, each with what provokes it: a harness that misses one is not
//! done. The program is to be built with the feature `planted`.

use std::time::Duration;

use bus_schema::Source;
use chassis::planted::Bug;

use super::plan::{Fault, Place, Plan, Step};
use crate::Service;

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
const DELAY: &[Fault] =
    &[Fault::DelayConnections(Duration::from_millis(100), Duration::from_millis(1_000))];
const TAKE_BACK_TWICE: &[Fault] =
    &[Fault::TakeBack(Source::Comment), Fault::TakeBack(Source::Comment)];

/// Where a bug shows, and what provokes it.
const fn provoked(bug: Bug) -> (Place, &'static [Fault]) {
    match bug {
        Bug::PublishWithoutTheFence => (REPLICAS, CUTS),
        Bug::AnswerWithoutACommit => (FILES, &[KILL_COMMENT]),
        Bug::CheckpointOutsideTheTransaction => {
            (FILES, &[KILL_MODERATION, KILL_MODERATION, KILL_MODERATION, KILL_MODERATION])
        }
        Bug::RequestIdIgnored => (FILES, &[]),
        Bug::SequenceFromMemory => (REPLICAS, &[]),
        Bug::FallbackWithoutTheApprovalFilter => {
            (FILES, &[Fault::PauseService(Service::Query, 0, LONG), Fault::KillNats(LONG)])
        }
        // Comments are changed before they are decided on.
        Bug::DecisionOnTheNewestRevision => {
            (FILES, &[Fault::PauseService(Service::Moderation, 0, LONG)])
        }
        Bug::PositionNotAwaited => (FILES, DELAY),
        Bug::TailNotImported => (FILES, AFTER_BACKUP),
        Bug::GateNeverClosed => (FILES, AFTER_BACKUP),
        Bug::EventDropped => (FILES, &[]),
        Bug::CountsNotKept => (FILES, &[]),
        Bug::BothDecisionsWin => (FILES, &[]),
        Bug::ViewWithoutApproval => (FILES, &[]),
        Bug::ChainWithoutThePreviousHash => (FILES, &[]),
        Bug::RewindInPlace => (FILES, TAKE_BACK_TWICE),
        // Numbers are given anew, to what other events make.
        Bug::JoinByRevisionNumber => (FILES, TAKE_BACK_TWICE),
        Bug::RefillWithoutProof => (FILES, &[Fault::RestoreBesideDamage(Source::Comment)]),
        Bug::RelayTrustsDirectGet => (CLUSTER, &[Fault::RestoreBesideLag(Source::Comment)]),
        Bug::BackupUnnoticed => (SERVER, AFTER_BACKUP),
        Bug::InstallationIgnored => (FILES, &[Fault::Intrude(Service::Comment)]),
    }
}

/// What is done to show a bug.
pub fn plan(bug: Bug) -> Plan {
    let (place, faults) = provoked(bug);
    let pause = Duration::from_millis(1_500);
    let steps = faults.iter().map(|fault| Step { pause, fault: *fault });
    // The streams are used for a while, whatever else happens.
    let last = Step { pause: 2 * pause, fault: Fault::DeleteStream(Source::Post) };
    Plan { seed: 1, place, steps: steps.chain([last]).collect() }
}
