//! What clients were told.

// An arm for all other variants would hide the next one, above all the next type of event.
#![warn(clippy::wildcard_enum_match_arm)]

use std::{
    collections::HashSet,
    error::Error as _,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant, SystemTime},
};

use agora_proto::event::v1::Decision;
use bus_schema::{Event, Source};
use chassis::content;
use tonic::{Code, Status};
use uuid::Uuid;

/// Everything that clients were told, in the order in which they heard it.
#[derive(Default)]
pub(super) struct Record(Mutex<Told>);

/// What was told.
#[derive(Default)]
pub(super) struct Told {
    /// How many operations were begun.
    pub(super) operations: u64,
    /// The calls that were refused or not answered, and made again.
    pub(super) failures: Vec<Failure>,
    /// How many operations were given up: nobody knows whether they have an effect.
    pub(super) given_up: u64,
    /// What was answered OK.
    pub(super) acknowledged: Vec<Acknowledged>,
    /// What readers without a token saw: comments, with the number of the revision and its
    /// text.
    pub(super) seen: HashSet<(Uuid, u32, String)>,
    /// What a source had before it was taken back, and has not any more.
    pub(super) taken: Taken,
    /// What must not be, found while it happened.
    pub(super) findings: Vec<String>,
    /// How many reads were made, and how many of them the owners have answered.
    pub(super) reads: u64,
    pub(super) from_owners: u64,
    /// How long the longest write took that was answered OK, and the longest read.
    pub(super) slowest: Duration,
    pub(super) slowest_read: Duration,
    /// The operations that were not answered as soon as a caller may expect.
    pub(super) late: Vec<Late>,
}

/// What is called, by the name of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method(pub(super) &'static str);

impl Method {
    /// That which takes such messages.
    pub(super) fn of<M>() -> Self {
        let name = std::any::type_name::<M>();
        let name = name.rsplit("::").next().unwrap_or(name);
        Self(name.trim_end_matches("Request"))
    }

    /// Whether it writes.
    pub(super) fn writes(self) -> bool {
        let verbs = ["Create", "Update", "Delete", "Approve", "Reject"];
        verbs.iter().any(|verb| self.0.starts_with(verb))
    }
}

/// A call that was refused or not answered.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// When it was made.
    pub(super) at: SystemTime,
    pub(super) method: Method,
    pub(super) code: Code,
    /// Whether a server has answered at all.
    pub(super) is_answered: bool,
    pub(super) message: String,
}

/// An operation that took long, with all its calls.
#[derive(Clone, Debug)]
pub(super) struct Late {
    /// When it was begun.
    pub(super) at: SystemTime,
    pub(super) took: Duration,
    pub(super) method: Method,
}

/// What nobody can hold a system to: it went with a database and its stream.
#[derive(Default)]
pub(super) struct Taken {
    /// How many writes that had been answered OK.
    pub(super) acknowledged: u64,
    /// The sources, whose positions may go back.
    pub(super) sources: HashSet<Source>,
    /// The revisions that were seen, or decided on.
    pub(super) revisions: HashSet<Uuid>,
    /// The same: comment, number and text.
    pub(super) texts: HashSet<(Uuid, u32, String)>,
    /// The revisions that were approved.
    pub(super) approved: HashSet<Uuid>,
}

impl Told {
    /// A source was taken back, and has lost these events.
    pub(super) fn taken_back(&mut self, source: Source, lost: &[Event]) {
        self.taken.sources.insert(source);
        let requests: HashSet<Uuid> =
            lost.iter().filter_map(|event| Some(event.request?.id.uuid())).collect();
        let before = self.acknowledged.len();
        self.acknowledged.retain(|told| !requests.contains(&told.request_id));
        self.taken.acknowledged += (before - self.acknowledged.len()) as u64;
        for event in lost {
            if let Some(decided) = event.decision()
                && decided.decision() == Decision::Approved
                && let Ok(id) = Uuid::from_slice(&decided.revision_id)
            {
                self.taken.approved.insert(id);
            }
            let Some((number, body)) = event.revision() else { continue };
            self.taken.revisions.insert(event.id.uuid());
            if let (Some(id), Ok(body)) = (event.aggregate, content::open(body)) {
                self.taken.texts.insert((id, number, body.to_owned()));
            }
        }
    }
}

/// A write that was answered OK.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    pub(super) request_id: Uuid,
    pub(super) what: What,
}

/// What was written.
#[derive(Clone, Debug)]
pub(super) enum What {
    Post { id: Uuid, title: String },
    Comment { id: Uuid, body: String },
    Update { id: Uuid, revision: u32, body: String },
    Delete { id: Uuid },
    Decision { id: Uuid, revision_id: Uuid, approved: bool },
}

impl Record {
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    /// A call was refused or not answered that was made then.
    pub(super) fn failed(&self, at: SystemTime, method: Method, status: &Status) {
        let message = status.message().to_owned();
        // Only what broke on the way has a source: a server's answer comes without.
        let is_answered = status.source().is_none();
        let failure = Failure { at, method, code: status.code(), is_answered, message };
        self.told().failures.push(failure);
    }

    pub(super) fn finding(&self, what: String) {
        self.told().findings.push(what);
    }

    /// A write was answered OK that was begun then.
    pub(super) fn acknowledged(&self, begun: Instant, request_id: Uuid, what: What) {
        let mut told = self.told();
        told.slowest = told.slowest.max(begun.elapsed());
        told.acknowledged.push(Acknowledged { request_id, what });
    }
}
