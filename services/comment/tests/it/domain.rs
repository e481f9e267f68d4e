use std::collections::HashMap;

use agora_comment::domain::{Change, Command, Comment, Comments, MAX_DEPTH, Reply, State, Verdict};
use bus_schema::{CommentId, Event, Kind, PostId, PostState, Sequence};
use chassis::call::Actor;
use eventstore::Domain as _;
use proptest::prelude::*;

use super::commands::{
    Fold, Input, Sent, change, create, decide, inputs, reason, reword, site, steps,
};

/// A comment on an open post, and what it was folded from.
fn comment() -> (Fold, Comment) {
    let (mut fold, blog, post_id) = (Fold::default(), site("blog"), PostId::new());
    fold.hear(post_id, &blog, PostState::Open);
    let reply = fold.run(&create(&blog, "ada", post_id, None)).unwrap();
    (fold, reply.comment)
}

/// The creation of a reply to a comment.
fn answer(parent: &Comment) -> Sent {
    create(&parent.site, "bob", parent.post_id, Some(parent.id))
}

#[test]
fn a_comment_begins_at_revision_1_below_its_post() {
    let (mut fold, first) = comment();
    assert_eq!((first.revision, first.depth, first.parent_id), (1, 1, None));
    assert_eq!((first.author.id.as_str(), first.author.name.as_str()), ("ada", "ADA"));
    assert_eq!((first.create_time.micros(), first.update_time.micros()), (-7, 1));
    assert_eq!((first.deleted, first.verdict), (false, None));
    assert_eq!(fold.replies[0].body, "a body");

    let second = fold.run(&answer(&first)).unwrap().comment;
    assert_eq!((second.depth, second.parent_id), (2, Some(first.id)));
    assert_eq!(second.post_id, first.post_id);
}

#[test]
fn what_was_heard_of_a_post_counts_and_else_what_was_asked() {
    use PostState::{Closed, Deleted, Open};
    let heard = |state| Some(("blog", state));
    let table = [
        (None, None, Err("POST_NOT_FOUND")),
        (None, Some(Open), Ok(())),
        (None, Some(Closed), Err("POST_CLOSED")),
        (None, Some(Deleted), Err("POST_DELETED")),
        (heard(Open), None, Ok(())),
        (heard(Open), Some(Closed), Ok(())),
        (heard(Open), Some(Deleted), Ok(())),
        (heard(Closed), None, Err("POST_CLOSED")),
        (heard(Closed), Some(Open), Err("POST_CLOSED")),
        (heard(Deleted), None, Err("POST_DELETED")),
        (heard(Deleted), Some(Open), Err("POST_DELETED")),
        (Some(("news", Open)), None, Err("POST_NOT_FOUND")),
        (Some(("news", Open)), Some(Open), Err("POST_NOT_FOUND")),
    ];
    for (heard, asked, expected) in table {
        let (mut fold, post_id) = (Fold::default(), PostId::new());
        if let Some((name, state)) = heard {
            fold.hear(post_id, &site(name), state);
        }
        let mut sent = create(&site("blog"), "ada", post_id, None);
        if let Command::Create(create) = &mut sent.command {
            create.asked = asked;
        }
        match (fold.run(&sent), expected) {
            (outcome, Ok(())) => assert!(outcome.is_ok(), "{heard:?} {asked:?}"),
            (outcome, Err(expected)) => {
                assert_eq!(reason(outcome), expected, "{heard:?} {asked:?}")
            }
        }
        assert!(
            !fold.state.posts.contains_key(&post_id) || heard.is_some(),
            "asking is not hearing"
        );
    }
}

#[test]
fn only_an_unheard_post_is_to_be_asked_for() {
    use agora_comment::Error;
    let mut fold = Fold::default();
    let blog = site("blog");
    let unheard = fold.run(&create(&blog, "ada", PostId::new(), None));
    assert!(matches!(unheard, Err(Error::PostNotHeardOf)));
    let elsewhere = PostId::new();
    fold.hear(elsewhere, &site("news"), PostState::Open);
    let outcome = fold.run(&create(&blog, "ada", elsewhere, None));
    assert!(matches!(outcome, Err(Error::PostNotFound)));
}

#[test]
fn a_parent_must_be_there_and_take_replies() {
    type Prepare = fn(&mut Fold, &Comment, &mut Sent);
    let table: [(&str, Prepare, Result<(), &str>); 9] = [
        ("nothing decided", |_, _, _| {}, Ok(())),
        ("approved", |fold, it, _| fold.judge(it.id, Verdict::Approved), Ok(())),
        ("rejected", |fold, it, _| fold.judge(it.id, Verdict::Rejected), Err("PARENT_REJECTED")),
        (
            "deleted",
            |fold, it, _| {
                fold.run(&change(it, Change::Delete)).unwrap();
            },
            Err("PARENT_DELETED"),
        ),
        (
            "rejected, then deleted",
            |fold, it, _| {
                fold.judge(it.id, Verdict::Rejected);
                fold.run(&change(it, Change::Delete)).unwrap();
            },
            Err("PARENT_DELETED"),
        ),
        (
            "rejected, then updated",
            |fold, it, _| {
                fold.judge(it.id, Verdict::Rejected);
                fold.run(&change(it, reword("better"))).unwrap();
            },
            Err("PARENT_REJECTED"),
        ),
        (
            "unknown",
            |_, _, sent| with_create(sent, |create| create.parent_id = Some(CommentId::new())),
            Err("PARENT_NOT_FOUND"),
        ),
        (
            "of another post",
            |fold, it, sent| {
                let other = PostId::new();
                fold.hear(other, &it.site, PostState::Open);
                with_create(sent, |create| create.post_id = other);
            },
            Err("PARENT_NOT_FOUND"),
        ),
        (
            "of another site",
            |fold, _, sent| {
                sent.site = site("news");
                // Not even if the post were said to be of this site by now.
                with_create(sent, |create| {
                    fold.hear(create.post_id, &site("news"), PostState::Open);
                });
            },
            Err("PARENT_NOT_FOUND"),
        ),
    ];
    for (case, prepare, expected) in table {
        let (mut fold, parent) = comment();
        let mut sent = answer(&parent);
        prepare(&mut fold, &parent, &mut sent);
        match (fold.run(&sent), expected) {
            (outcome, Ok(())) => assert!(outcome.is_ok(), "{case}"),
            (outcome, Err(expected)) => assert_eq!(reason(outcome), expected, "{case}"),
        }
    }
}

fn with_create(sent: &mut Sent, change: impl FnOnce(&mut agora_comment::domain::Create)) {
    match &mut sent.command {
        Command::Create(create) => change(create),
        Command::Change { .. } => panic!("no creation"),
    }
}

#[test]
fn a_thread_is_so_deep_and_no_deeper() {
    let (mut fold, mut last) = comment();
    for depth in 2..=MAX_DEPTH {
        last = fold.run(&answer(&last)).unwrap().comment;
        assert_eq!(last.depth, depth);
    }
    assert_eq!(last.depth, MAX_DEPTH);
    assert_eq!(reason(fold.run(&answer(&last))), "TOO_DEEP");
}

#[test]
fn every_change_in_every_state() {
    let table = [
        (false, reword("new"), Ok((2, false, "new"))),
        // The same text makes a new revision all the same.
        (false, reword("a body"), Ok((2, false, "a body"))),
        (false, Change::Delete, Ok((1, true, ""))),
        (true, reword("new"), Err("COMMENT_DELETED")),
        (true, Change::Delete, Err("COMMENT_DELETED")),
    ];
    for (deleted, what, expected) in table {
        let (mut fold, comment) = comment();
        if deleted {
            fold.run(&change(&comment, Change::Delete)).unwrap();
        }
        let outcome = fold.run(&change(&comment, what));
        match expected {
            Ok(expected) => {
                let Reply { comment, body } = outcome.unwrap();
                assert_eq!((comment.revision, comment.deleted, body.as_str()), expected);
            }
            Err(expected) => assert_eq!(reason(outcome), expected),
        }
    }
}

#[test]
fn a_comment_can_be_changed_whatever_its_post_is() {
    for state in [PostState::Closed, PostState::Deleted] {
        let (mut fold, comment) = comment();
        fold.hear(comment.post_id, &comment.site, state);
        fold.run(&change(&comment, reword("new"))).unwrap();
        fold.run(&change(&comment, Change::Delete)).unwrap();
    }
}

#[test]
fn who_may_change_a_comment_and_on_which_revision() {
    let table = [
        ("blog", "ada", false, None, Ok(())),
        ("blog", "ada", false, Some(2), Ok(())),
        ("blog", "ada", false, Some(1), Err("STALE_REVISION")),
        ("blog", "ada", false, Some(3), Err("STALE_REVISION")),
        ("blog", "bob", true, None, Ok(())),
        ("blog", "bob", true, Some(1), Err("STALE_REVISION")),
        ("blog", "bob", false, None, Err("NOT_THE_AUTHOR")),
        // Others are not told how far the comment is.
        ("blog", "bob", false, Some(1), Err("NOT_THE_AUTHOR")),
        ("news", "ada", false, None, Err("COMMENT_NOT_FOUND")),
        ("news", "bob", true, None, Err("COMMENT_NOT_FOUND")),
    ];
    for (name, actor, administers, revision, expected) in table {
        for what in [reword("third"), Change::Delete] {
            let (mut fold, comment) = comment();
            fold.run(&change(&comment, reword("second"))).unwrap();
            let by = Actor { id: actor.into(), administers };
            let command =
                Command::Change { comment_id: comment.id, actor: by, revision, change: what };
            let sent = Sent { site: site(name), actor: actor.into(), command };
            match (fold.run(&sent), expected) {
                (outcome, Ok(())) => assert!(outcome.is_ok(), "{sent:?}"),
                (outcome, Err(expected)) => assert_eq!(reason(outcome), expected, "{sent:?}"),
            }
        }
    }
}

#[test]
fn an_unknown_comment_cannot_be_changed() {
    let (mut fold, mut comment) = comment();
    comment.id = CommentId::new();
    assert_eq!(reason(fold.run(&change(&comment, Change::Delete))), "COMMENT_NOT_FOUND");
}

#[test]
fn an_event_that_cannot_be_read_is_refused() {
    let (fold, comment) = comment();
    let created = fold.events[0].clone();
    let apply = |state: &State, event: &Event| Comments::apply(&mut state.clone(), event);

    let of_nothing = Event { aggregate: None, ..created.clone() };
    assert!(apply(&State::default(), &of_nothing).is_err());
    let of_no_post = Event { post_id: None, ..created.clone() };
    assert!(apply(&State::default(), &of_no_post).is_err());
    let delete = decide(&fold.state, &change(&comment, Change::Delete), Sequence(2)).unwrap();
    assert!(apply(&State::default(), &delete).is_err(), "of a comment that is not there");
    let foreign = Event { kind: Kind::PostDeleted(Default::default()), ..created.clone() };
    assert!(apply(&fold.state, &foreign).is_err(), "of another source");

    let mut sealed = created;
    if let Kind::CommentCreated(created) = &mut sealed.kind {
        created.body.as_mut().unwrap().key_id = "a key".into();
    }
    assert!(Comments::reply(&State::default(), &sealed).is_err());
}

proptest! {
    #[test]
    fn anything_that_happens_keeps_the_rules(steps in steps()) {
        let mut fold = Fold::default();
        for input in inputs(&steps) {
            let before = (fold.state.comments.clone(), fold.events.len());
            let sent = match input {
                Input::Post(id, site, state) => {
                    fold.hear(id, &site, state);
                    continue;
                }
                Input::Verdict(id, verdict) => {
                    if fold.state.comments.contains_key(&id) {
                        fold.judge(id, verdict);
                    }
                    continue;
                }
                Input::Sent(sent) => sent,
            };
            match fold.run(&sent) {
                Ok(reply) => {
                    prop_assert_eq!(fold.events.len(), before.1 + 1);
                    prop_assert_eq!(&fold.state.comments[&reply.comment.id], &reply.comment);
                    prop_assert!(reply.comment.deleted == reply.body.is_empty());
                }
                Err(_) => prop_assert_eq!(&fold.state.comments, &before.0),
            }
        }
        every_reply_stands_below_its_parent(&fold)?;
        revisions_are_counted(&fold)?;
        the_bytes_of_the_events_make_the_same_state(&fold)?;
        an_old_event_answers_as_it_did(&fold)?;
    }
}

fn every_reply_stands_below_its_parent(fold: &Fold) -> Result<(), TestCaseError> {
    for comment in fold.state.comments.values() {
        let above = match comment.parent_id {
            None => 0,
            Some(id) => {
                let parent = &fold.state.comments[&id];
                prop_assert_eq!((&parent.site, parent.post_id), (&comment.site, comment.post_id));
                parent.depth
            }
        };
        prop_assert_eq!(comment.depth, above + 1);
    }
    Ok(())
}

fn revisions_are_counted(fold: &Fold) -> Result<(), TestCaseError> {
    for comment in fold.state.comments.values() {
        let updates = fold.events.iter().filter(|event| {
            event.aggregate == Some(comment.id.uuid())
                && matches!(event.kind, Kind::CommentUpdated(_))
        });
        prop_assert_eq!(comment.revision as usize, 1 + updates.count());
    }
    Ok(())
}

/// What events alone say of a comment: they do not know what moderation says.
fn unjudged(comment: &Comment) -> Comment {
    Comment { verdict: None, ..comment.clone() }
}

fn the_bytes_of_the_events_make_the_same_state(fold: &Fold) -> Result<(), TestCaseError> {
    let mut state = State::default();
    for event in &fold.events {
        Comments::apply(&mut state, &Event::decode(event.encode()).unwrap()).unwrap();
    }
    let expected: HashMap<_, _> =
        fold.state.comments.iter().map(|(id, comment)| (*id, unjudged(comment))).collect();
    prop_assert_eq!(state.comments, expected);
    Ok(())
}

fn an_old_event_answers_as_it_did(fold: &Fold) -> Result<(), TestCaseError> {
    for (event, reply) in fold.events.iter().zip(&fold.replies) {
        let again = Comments::reply(&fold.state, event).unwrap();
        prop_assert_eq!(unjudged(&again.comment), unjudged(&reply.comment));
        prop_assert_eq!(&again.body, &reply.body);
    }
    Ok(())
}
