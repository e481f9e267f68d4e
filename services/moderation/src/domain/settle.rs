use agora_proto::event::v1::Decision;
use bus_schema::Time;

use super::Comment;

/// What follows from the decisions on a comment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The verdict on the newest revision that was approved or rejected.
    pub verdict: Option<Verdict>,
    /// Whether its case is open: its newest revision waits for a moderator.
    pub open: bool,
    /// When its case was opened last.
    pub open_time: Option<Time>,
}

/// A decision that is none for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everybody may see it.
    Approved,
    /// Nobody but its author and moderators.
    Rejected,
}

/// What follows from the decisions on a comment, in whatever order they came.
pub fn settle(comment: &Comment) -> Settled {
    let verdict = comment.revisions.values().rev().find_map(|revision| {
        match revision.decided.as_ref()?.decision {
            Decision::Approved => Some(Verdict::Approved),
            Decision::Rejected => Some(Verdict::Rejected),
            Decision::Pending | Decision::Unspecified => None,
        }
    });
    let newest = comment.revisions.values().next_back();
    let pending = newest
        .and_then(|revision| revision.decided.as_ref())
        .filter(|decided| decided.decision == Decision::Pending);
    Settled {
        verdict,
        open: pending.is_some() && !comment.deleted,
        open_time: comment.revisions.values().filter_map(|revision| revision.held).max(),
    }
}
