//! Which comments and decisions are folded together.
//!
//! A comment that is folded with its decision is written once; one after the other they
//! cost several times as much, above all because the comment changes its place among its
//! siblings. Whichever of the two consumers is ahead therefore waits a little for the
//! other. This is about speed alone: in whatever order they are folded, the view is the
//! same.

use bus_schema::RevisionId;
use eventstore::delivery::Delivery;

/// How many of the events that wait are to be folded now: first of the comments', then of
/// the decisions. `folded` is the newest revision that was folded before, and `late` says
/// that the comments have waited long enough.
///
/// Revisions' ids are UUIDs of version 7 and moderation decides in the order of the
/// stream: by their ids it is told who is ahead.
pub(super) fn ready(
    comments: &[Delivery],
    decisions: &[Delivery],
    folded: Option<RevisionId>,
    late: bool,
) -> (usize, usize) {
    let decided_to = decisions.iter().filter_map(decided).max();
    let undecided = |delivery| made(delivery).is_some_and(|id| Some(id) > decided_to);
    let undecided = comments.iter().position(undecided).filter(|_| !late);
    let comments = &comments[..undecided.unwrap_or(comments.len())];

    let made_to = newest(comments).max(folded);
    let unmade = |delivery| decided(delivery).is_some_and(|id| Some(id) > made_to);
    let unmade = decisions.iter().position(unmade);
    (comments.len(), unmade.unwrap_or(decisions.len()))
}

/// The newest revision that these events make.
pub(super) fn newest(comments: &[Delivery]) -> Option<RevisionId> {
    comments.iter().filter_map(made).max()
}

/// The revision that an event of the comment service makes.
fn made(delivery: &Delivery) -> Option<RevisionId> {
    let event = delivery.event.as_ref().ok()?;
    event.revision().map(|_| event.id.into())
}

/// The revision that an event of the moderation service decides on.
fn decided(delivery: &Delivery) -> Option<RevisionId> {
    let decided = delivery.event.as_ref().ok()?.decision()?;
    RevisionId::from_slice(&decided.revision_id).ok()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{
        super::tests::{created, decided_on, deleted},
        *,
    };

    #[test]
    fn whoever_is_ahead_waits_for_the_other() {
        // Up to the revision 4 all were folded before.
        let folded = Some(Uuid::from_u128(4).into());
        let cases = [
            ("comments alone wait", vec![created(5), created(6)], vec![], false, (0, 0)),
            ("but not for ever", vec![created(5), created(6)], vec![], true, (2, 0)),
            (
                "what is not decided on waits",
                (5..9).map(created).collect(),
                vec![decided_on(5), decided_on(6)],
                false,
                (2, 2),
            ),
            (
                "so do decisions without comments",
                vec![created(5)],
                (5..8).map(decided_on).collect(),
                false,
                (1, 1),
            ),
            (
                "who has both goes",
                vec![created(5), created(6)],
                vec![decided_on(5), decided_on(6)],
                false,
                (2, 2),
            ),
            (
                "decisions on old revisions go at once",
                vec![created(5)],
                vec![decided_on(2), decided_on(4)],
                false,
                (0, 2),
            ),
            ("deletions need no decision", vec![deleted(), created(5)], vec![], false, (1, 0)),
            (
                "late comments free their decisions",
                vec![created(5), created(6)],
                vec![decided_on(5)],
                true,
                (2, 1),
            ),
            ("a decision alone waits for its comment", vec![], vec![decided_on(5)], false, (0, 0)),
        ];
        for (what, comments, decisions, late, expected) in cases {
            assert_eq!(ready(&comments, &decisions, folded, late), expected, "{what}");
        }
    }
}
