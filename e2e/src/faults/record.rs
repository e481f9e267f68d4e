//! What clients were told.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use uuid::Uuid;

/// Everything that clients were told, in the order in which they heard it.
#[derive(Default)]
pub(super) struct Record(Mutex<Told>);

/// What was told.
#[derive(Default)]
pub(super) struct Told {
    /// How many operations were begun.
    pub(super) operations: u64,
    /// How many calls were refused or not answered, and made again.
    pub(super) retries: u64,
    /// How many operations were given up: nobody knows whether they have an effect.
    pub(super) given_up: u64,
    /// What was answered OK.
    pub(super) acknowledged: Vec<Acknowledged>,
    /// What readers without a token saw: comments, with the number of the revision and its
    /// text.
    pub(super) seen: HashSet<(Uuid, u32, String)>,
    /// What must not be, found while it happened.
    pub(super) findings: Vec<String>,
    /// How many reads were made, and how many of them the owners have answered.
    pub(super) reads: u64,
    pub(super) from_owners: u64,
    /// How long the longest write took that was answered OK.
    pub(super) slowest: Duration,
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
