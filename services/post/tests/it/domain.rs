use std::collections::{HashMap, HashSet};

use agora_post::domain::{Change, Command, Post, Posts, State};
use bus_schema::{Event, Kind, PostState, Sequence, Time};
use chassis::call::Actor;
use eventstore::Domain as _;
use proptest::prelude::*;

use super::commands::{Fold, change, commands, create, decide, reason, retitle, site, steps};

/// A post in this state, and what it was folded from.
fn post_that_is(state: PostState) -> (Fold, Post) {
    let mut fold = Fold::default();
    let post = fold.run(&create(&site("blog"), "ada", Some("a key"))).unwrap();
    let post = match state {
        PostState::Open => post,
        PostState::Closed => fold.run(&change(&post, Change::Close)).unwrap(),
        PostState::Deleted => fold.run(&change(&post, Change::Delete)).unwrap(),
    };
    assert_eq!(post.state, state);
    (fold, post)
}

#[test]
fn a_post_begins_open_at_revision_1() {
    let (fold, post) = post_that_is(PostState::Open);
    assert_eq!(post.revision, 1);
    assert_eq!((post.text.title.as_str(), post.text.body.as_str()), ("a title", "a body"));
    assert_eq!((post.author.id.as_str(), post.author.name.as_str()), ("ada", "ADA"));
    assert_eq!(post.external_key.as_deref(), Some("a key"));
    assert_eq!((post.create_time, post.update_time), (fold.events[0].time, fold.events[0].time));
}

#[test]
fn an_imported_post_keeps_its_time() {
    let mut sent = create(&site("blog"), "ada", None);
    let before = Time::from_micros(-7);
    if let Command::Create { create_time, .. } = &mut sent.command {
        *create_time = Some(before);
    }
    let post = Fold::default().run(&sent).unwrap();
    assert_eq!((post.create_time, post.update_time), (before, Time::from_micros(1)));
}

#[test]
fn every_change_in_every_state() {
    use PostState::{Closed, Deleted, Open};
    type Outcome = Result<(PostState, u32), &'static str>;
    let deleted = Err("POST_DELETED");
    let table: [(PostState, Change, Outcome); 12] = [
        (Open, retitle("new"), Ok((Open, 2))),
        (Open, Change::Delete, Ok((Deleted, 1))),
        (Open, Change::Close, Ok((Closed, 1))),
        (Open, Change::Reopen, Err("POST_NOT_CLOSED")),
        (Closed, retitle("new"), Ok((Closed, 2))),
        (Closed, Change::Delete, Ok((Deleted, 1))),
        (Closed, Change::Close, Err("POST_ALREADY_CLOSED")),
        (Closed, Change::Reopen, Ok((Open, 1))),
        (Deleted, retitle("new"), deleted),
        (Deleted, Change::Delete, deleted),
        (Deleted, Change::Close, deleted),
        (Deleted, Change::Reopen, deleted),
    ];
    for (state, what, expected) in table {
        let (mut fold, post) = post_that_is(state);
        let case = format!("{what:?} of a post that is {state:?}");
        let outcome = fold.run(&change(&post, what));
        match expected {
            Ok(expected) => {
                let post = outcome.unwrap();
                assert_eq!((post.state, post.revision), expected, "{case}");
            }
            Err(expected) => assert_eq!(reason(outcome), expected, "{case}"),
        }
    }
}

#[test]
fn an_update_changes_what_it_names() {
    let update = |title: Option<&str>, body: Option<&str>| Change::Update {
        title: title.map(Into::into),
        body: body.map(Into::into),
    };
    let table = [
        (update(Some("t"), None), ("t", "a body")),
        (update(None, Some("b")), ("a title", "b")),
        (update(None, Some("")), ("a title", "")),
        (update(Some("t"), Some("b")), ("t", "b")),
        // The same text makes a new revision all the same.
        (update(Some("a title"), None), ("a title", "a body")),
    ];
    for (what, expected) in table {
        let (mut fold, post) = post_that_is(PostState::Open);
        let post = fold.run(&change(&post, what)).unwrap();
        assert_eq!((post.text.title.as_str(), post.text.body.as_str()), expected);
        assert_eq!(post.revision, 2);
    }
}

#[test]
fn who_may_change_a_post_and_on_which_revision() {
    let table = [
        ("blog", "ada", false, None, Ok(())),
        ("blog", "ada", false, Some(2), Ok(())),
        ("blog", "ada", false, Some(1), Err("STALE_REVISION")),
        ("blog", "ada", false, Some(3), Err("STALE_REVISION")),
        ("blog", "bob", true, None, Ok(())),
        ("blog", "bob", true, Some(1), Err("STALE_REVISION")),
        ("blog", "bob", false, None, Err("NOT_THE_AUTHOR")),
        // Others are not told how far the post is.
        ("blog", "bob", false, Some(1), Err("NOT_THE_AUTHOR")),
        ("news", "ada", false, None, Err("POST_NOT_FOUND")),
        ("news", "bob", true, None, Err("POST_NOT_FOUND")),
    ];
    for (name, actor, administers, on, expected) in table {
        for what in [retitle("new"), Change::Delete, Change::Close] {
            let (mut fold, post) = post_that_is(PostState::Open);
            fold.run(&change(&post, retitle("second"))).unwrap();
            let mut sent = change(&post, what);
            sent.site = site(name);
            sent.actor = actor.into();
            sent.command = match sent.command {
                Command::Change { post_id, change, .. } => {
                    let actor = Actor { id: actor.into(), administers };
                    Command::Change { post_id, actor, revision: on, change }
                }
                other => other,
            };
            let case = format!("{sent:?}");
            match (fold.run(&sent), expected) {
                (outcome, Ok(())) => assert!(outcome.is_ok(), "{case}"),
                (outcome, Err(expected)) => assert_eq!(reason(outcome), expected, "{case}"),
            }
        }
    }
}

#[test]
fn a_key_is_taken_until_its_post_is_deleted() {
    let (blog, news) = (site("blog"), site("news"));
    let mut fold = Fold::default();
    let first = fold.run(&create(&blog, "ada", Some("k"))).unwrap();
    assert_eq!(reason(fold.run(&create(&blog, "bob", Some("k")))), "EXTERNAL_KEY_TAKEN");
    fold.run(&create(&news, "bob", Some("k"))).expect("another site");
    fold.run(&create(&blog, "bob", Some("K"))).expect("another key");
    fold.run(&create(&blog, "bob", None)).expect("no key");
    fold.run(&create(&blog, "bob", None)).expect("no key again");

    fold.run(&change(&first, Change::Close)).unwrap();
    assert_eq!(reason(fold.run(&create(&blog, "bob", Some("k")))), "EXTERNAL_KEY_TAKEN");
    let deleted = fold.run(&change(&first, Change::Delete)).unwrap();
    assert_eq!(deleted.external_key.as_deref(), Some("k"), "it keeps the key that it had");
    fold.run(&create(&blog, "bob", Some("k"))).expect("the key is free again");
}

#[test]
fn an_event_that_cannot_be_read_is_refused() {
    let (fold, post) = post_that_is(PostState::Open);
    let created = fold.events[0].clone();
    let apply = |state: &State, event: &Event| Posts::apply(&mut state.clone(), event);

    let mut sealed = created.clone();
    if let Kind::PostCreated(created) = &mut sealed.kind {
        created.title.as_mut().unwrap().key_id = "a key".into();
    }
    assert!(apply(&State::default(), &sealed).is_err());
    let nowhere = Event { post_id: None, ..created.clone() };
    assert!(apply(&State::default(), &nowhere).is_err());
    let close = decide(&fold.state, &change(&post, Change::Close), Sequence(2)).unwrap();
    assert!(apply(&State::default(), &close).is_err(), "of a post that is not there");
    let foreign = Event { kind: Kind::CommentDeleted(Default::default()), ..created };
    assert!(apply(&fold.state, &foreign).is_err(), "of another source");
}

proptest! {
    #[test]
    fn any_commands_keep_the_rules(steps in steps()) {
        let mut fold = Fold::default();
        for sent in commands(&steps) {
            let before = (fold.state.posts.clone(), fold.events.len());
            match fold.run(&sent) {
                Ok(reply) => {
                    prop_assert_eq!(fold.events.len(), before.1 + 1);
                    prop_assert_eq!(&fold.state.posts[&sent.command.post_id()], &reply);
                }
                Err(_) => prop_assert_eq!(&fold.state.posts, &before.0),
            }
        }
        keys_are_those_of_the_living(&fold)?;
        revisions_are_counted(&fold)?;
        the_bytes_of_the_events_make_the_same_state(&fold)?;
        an_old_event_answers_as_it_did(&fold)?;
    }
}

fn keys_are_those_of_the_living(fold: &Fold) -> Result<(), TestCaseError> {
    let posts = fold.state.posts.values();
    let living = posts.filter(|post| post.state != PostState::Deleted);
    let keyed: Vec<_> = living
        .filter_map(|post| Some(((post.site.clone(), post.external_key.clone()?), post.id)))
        .collect();
    prop_assert_eq!(keyed.len(), keyed.iter().map(|(key, _)| key).collect::<HashSet<_>>().len());
    prop_assert_eq!(&fold.state.keys, &keyed.into_iter().collect::<HashMap<_, _>>());
    Ok(())
}

fn revisions_are_counted(fold: &Fold) -> Result<(), TestCaseError> {
    for post in fold.state.posts.values() {
        let updates = fold.events.iter().filter(|event| {
            event.post_id == Some(post.id) && matches!(event.kind, Kind::PostUpdated(_))
        });
        prop_assert_eq!(post.revision as usize, 1 + updates.count());
        for revision in 1..=post.revision {
            prop_assert!(fold.state.texts.contains_key(&(post.id, revision)));
        }
        let is_empty = post.text.title.is_empty() && post.text.body.is_empty();
        prop_assert_eq!(post.state == PostState::Deleted, is_empty);
    }
    Ok(())
}

fn the_bytes_of_the_events_make_the_same_state(fold: &Fold) -> Result<(), TestCaseError> {
    let mut state = State::default();
    for event in &fold.events {
        Posts::apply(&mut state, &Event::decode(event.encode()).unwrap()).unwrap();
    }
    prop_assert_eq!(&state.posts, &fold.state.posts);
    prop_assert_eq!(&state.keys, &fold.state.keys);
    prop_assert_eq!(&state.texts, &fold.state.texts);
    Ok(())
}

fn an_old_event_answers_as_it_did(fold: &Fold) -> Result<(), TestCaseError> {
    for (event, reply) in fold.events.iter().zip(&fold.replies) {
        prop_assert_eq!(&Posts::reply(&fold.state, event).unwrap(), reply);
    }
    Ok(())
}
