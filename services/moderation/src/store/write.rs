//! What is to be written, whatever database it is written to.

use std::collections::HashMap;

use agora_proto::event::v1::{PolicySet, RevisionDecided};
use bus_schema::{CommentId, Event, Kind, Site};
use eventstore::database::bulk::distinct;

use crate::domain::{self, Command, Comment, New, Settled, Verdict};

/// What a transaction leaves.
pub(super) struct Changes<'s> {
    /// The policies that were set.
    pub(super) policies: Vec<(&'s Event, &'s PolicySet)>,
    /// The decisions that were made.
    pub(super) decisions: Vec<(&'s Event, &'s RevisionDecided)>,
    /// Comments that are not kept yet, in the order of their ids.
    pub(super) new: Vec<(&'s Comment, &'s New, Settled)>,
    /// Comments of which something else follows now.
    pub(super) settled: Vec<(&'s Comment, Settled)>,
    /// By how much the approved and rejected comments of an author have become more.
    pub(super) authors: Vec<(&'s Site, &'s str, (i32, i32))>,
}

impl<'s> Changes<'s> {
    /// What these events and what became of these comments leave.
    pub(super) fn of(events: &'s [Event], comments: impl Iterator<Item = &'s Comment>) -> Self {
        let (mut policies, mut decisions) = (Vec::new(), Vec::new());
        for event in events {
            match &event.kind {
                Kind::PolicySet(set) => policies.push((event, set)),
                Kind::RevisionDecided(decided) => decisions.push((event, decided)),
                // Others' events leave nothing here.
                Kind::PostCreated(_)
                | Kind::PostUpdated(_)
                | Kind::PostDeleted(_)
                | Kind::PostClosed(_)
                | Kind::PostReopened(_)
                | Kind::CommentCreated(_)
                | Kind::CommentUpdated(_)
                | Kind::CommentDeleted(_) => {}
            }
        }
        let (mut new, mut settled) = (Vec::new(), Vec::new());
        let mut authors: HashMap<(&Site, &str), (i32, i32)> = HashMap::new();
        for comment in comments {
            let now = domain::settle(comment);
            match &comment.new {
                Some(row) => new.push((comment, row, now)),
                None if now == comment.settled => continue,
                None => settled.push((comment, now)),
            }
            let author = authors.entry((&comment.site, &comment.author_id)).or_default();
            for (verdict, by) in [(comment.settled.verdict, -1), (now.verdict, 1)] {
                match verdict {
                    Some(Verdict::Approved) => author.0 += by,
                    Some(Verdict::Rejected) => author.1 += by,
                    None => {}
                }
            }
        }
        // In the order of the table, so that neighbours are written together.
        new.sort_unstable_by_key(|(comment, ..)| comment.id);
        let authors = authors.into_iter().filter(|(_, counts)| *counts != (0, 0));
        let authors = authors.map(|((site, author), counts)| (site, author, counts)).collect();
        Self { policies, decisions, new, settled, authors }
    }
}

/// The number of a new comment's newest revision.
pub(super) fn newest_revision(comment: &Comment) -> u32 {
    comment.revisions.last_key_value().map_or(0, |(number, _)| *number)
}

/// A verdict as rows hold it.
pub(super) const fn verdict_number(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Approved => 2,
        Verdict::Rejected => 3,
    }
}

/// The comments that commands decide on.
pub(super) fn decided_on(commands: &[&Command]) -> Vec<CommentId> {
    distinct(commands.iter().filter_map(|command| match command {
        Command::Decide { comment_id, .. } => Some(*comment_id),
        Command::SetPolicy { .. } => None,
    }))
}

/// The sites whose policy commands need: those that set one, and those of the comments.
pub(super) fn sites(commands: &[&Command], comments: &HashMap<CommentId, Comment>) -> Vec<Site> {
    let set = commands.iter().filter_map(|command| match command {
        Command::SetPolicy { site, .. } => Some(site.clone()),
        Command::Decide { .. } => None,
    });
    distinct(set.chain(comments.values().map(|comment| comment.site.clone())))
}

/// The comments that events happen to.
pub(super) fn touched(events: &[Event]) -> Vec<CommentId> {
    distinct(events.iter().filter_map(|event| event.aggregate).map(CommentId::from))
}
