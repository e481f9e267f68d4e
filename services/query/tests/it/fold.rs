//! Whatever order the sources come in, the view is the same, its counts are exact, and
//! readers see what they may and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use agora_proto::event::v1::{self as proto, Decision};
use agora_query::{
    store::{Digest, PostKey, Reader, View, Viewer, Wanted},
    thread::{Cursor, Order},
};
use bus_schema::{
    Checkpoint, CommentId, DecodeError, Event, EventId, Kind, PostId, Sequence, Source, Time, plain,
};
use eventstore::{
    database,
    dead_letter::Refused,
    delivery::{Batch, Delivery},
};
use proptest::prelude::*;
use sqlx::ConnectOptions as _;
use tempfile::TempDir;

const SITE: &str = "blog";

/// What happens to a thread, by small numbers that are made to fit.
#[derive(Clone, Debug)]
enum Step {
    Create { parent: usize },
    Update { comment: usize },
    Delete { comment: usize },
    Decide { revision: usize, decision: i32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => any::<usize>().prop_map(|parent| Step::Create { parent }),
        1 => any::<usize>().prop_map(|comment| Step::Update { comment }),
        1 => any::<usize>().prop_map(|comment| Step::Delete { comment }),
        // Most are approved, so that trees are seen.
        6 => (any::<usize>(), prop::sample::select(vec![1, 2, 2, 2, 3]))
            .prop_map(|(revision, decision)| Step::Decide { revision, decision }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the test knows of a comment.
struct Known {
    id: CommentId,
    parent: Option<usize>,
    revisions: Vec<(EventId, Option<Decision>)>,
    deleted: bool,
}

impl Known {
    fn is_open(&self) -> bool {
        let decided = |decision: &Option<Decision>| {
            matches!(decision, Some(Decision::Approved | Decision::Rejected))
        };
        let newest = self.revisions.iter().rev().find(|(_, decision)| decided(decision));
        newest.is_some_and(|(_, decision)| *decision == Some(Decision::Approved))
    }
}

/// A thread, and the events of it by source.
struct Thread {
    post: PostId,
    comments: Vec<Known>,
    events: BTreeMap<Source, Vec<Event>>,
}

impl Thread {
    fn of(steps: &[Step]) -> Self {
        let mut thread =
            Self { post: PostId::new(), comments: Vec::new(), events: BTreeMap::new() };
        let created = proto::PostCreated {
            title: Some(plain("a post")),
            author: Some(proto::Author { id: "ada".into(), name: None }),
            create_time: Some(Time::from_micros(1).into()),
            ..Default::default()
        };
        let post = thread.post.uuid();
        thread.push(Source::Post, EventId::new(), post, Kind::PostCreated(created));
        for step in steps {
            thread.step(step);
        }
        thread
    }

    fn push(&mut self, source: Source, id: EventId, aggregate: uuid::Uuid, kind: Kind) {
        let events = self.events.entry(source).or_default();
        let number = events.len() as u64 + 1;
        events.push(Event {
            id,
            source,
            sequence: Sequence(number),
            time: Time::from_micros(number as i64),
            actor: "ada".into(),
            request: None,
            site: SITE.parse().unwrap(),
            post_id: Some(self.post),
            aggregate: Some(aggregate),
            traceparent: String::new(),
            kind,
        });
    }

    fn step(&mut self, step: &Step) {
        let count = self.comments.len();
        let event = EventId::new();
        match *step {
            Step::Create { parent } => {
                let parent = (parent % (count + 1)).checked_sub(1);
                let id = CommentId::new();
                let created = proto::CommentCreated {
                    parent_id: parent
                        .map(|parent| self.comments[parent].id.to_bytes())
                        .unwrap_or_default(),
                    depth: parent.map_or(1, |parent| self.depth(parent) + 1),
                    body: Some(plain("a comment")),
                    author: Some(proto::Author { id: "bob".into(), name: None }),
                    create_time: Some(Time::from_micros(count as i64 / 3).into()),
                };
                let revisions = vec![(event, None)];
                self.comments.push(Known { id, parent, revisions, deleted: false });
                self.push(Source::Comment, event, id.uuid(), Kind::CommentCreated(created));
            }
            Step::Update { comment } if count > 0 => {
                let comment = &mut self.comments[comment % count];
                if comment.deleted {
                    return;
                }
                comment.revisions.push((event, None));
                let revision = comment.revisions.len() as u32;
                let updated = proto::CommentUpdated { revision, body: Some(plain("another text")) };
                let id = comment.id.uuid();
                self.push(Source::Comment, event, id, Kind::CommentUpdated(updated));
            }
            Step::Delete { comment } if count > 0 => {
                let comment = &mut self.comments[comment % count];
                comment.deleted = true;
                let deleted = proto::CommentDeleted { revision: 1 };
                let id = comment.id.uuid();
                self.push(Source::Comment, event, id, Kind::CommentDeleted(deleted));
            }
            Step::Decide { revision, decision } if count > 0 => {
                let comment = &mut self.comments[revision % count];
                let number = revision / count % comment.revisions.len();
                let decision = Decision::try_from(decision).unwrap();
                comment.revisions[number].1 = Some(decision);
                let decided = proto::RevisionDecided {
                    revision_id: comment.revisions[number].0.to_bytes(),
                    // For people only: a join by it would be wrong.
                    revision: 1,
                    decision: decision.into(),
                    ..Default::default()
                };
                let id = comment.id.uuid();
                self.push(Source::Moderation, event, id, Kind::RevisionDecided(decided));
            }
            _ => {}
        }
    }

    fn depth(&self, comment: usize) -> u32 {
        self.comments[comment].parent.map_or(1, |parent| self.depth(parent) + 1)
    }

    fn is_visible(&self, comment: usize) -> bool {
        let known = &self.comments[comment];
        known.is_open() && known.parent.is_none_or(|parent| self.is_visible(parent))
    }
}

/// Hands the events over in batches whose sizes and order the numbers choose.
async fn fold(view: &mut View, thread: &Thread, choices: &[usize]) {
    let mut heads: BTreeMap<Source, Checkpoint> = BTreeMap::new();
    let mut left: BTreeMap<Source, &[Event]> =
        thread.events.iter().map(|(source, events)| (*source, events.as_slice())).collect();
    let mut choices = choices.iter().cycle();
    while !left.is_empty() {
        let sources: Vec<Source> = left.keys().copied().collect();
        let source = sources[choices.next().unwrap() % sources.len()];
        let events = left.remove(&source).unwrap();
        let (now, later) = events.split_at(choices.next().unwrap() % events.len() + 1);
        if !later.is_empty() {
            left.insert(source, later);
        }
        let head = heads.entry(source).or_insert(Checkpoint::ZERO);
        let batch = batch(source, head, now);
        view.apply(&[batch]).await.unwrap();
    }
}

fn batch(source: Source, head: &mut Checkpoint, events: &[Event]) -> Batch {
    let from = *head;
    let deliveries = events.iter().map(|event| {
        let bytes = event.encode();
        *head = head.extend(&bytes);
        let event = Event::decode(bytes.clone()).map(Box::new);
        Delivery { sequence: head.sequence, hash: head.hash, bytes, event }
    });
    let deliveries = deliveries.collect();
    Batch { source, from, to: *head, deliveries }
}

struct Fixture {
    view: View,
    reader: Reader,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let view = View::open(&folder.path().join("view.db")).await.unwrap();
        let readers = view.readers(1).await.unwrap();
        let reader = Reader::new(readers, view.letters(1).await.unwrap());
        Self { view, reader, folder }
    }

    async fn digest(&self) -> Digest {
        self.reader.digest().await.unwrap()
    }

    /// Everything that a viewer is shown, page by page and below every comment, and the
    /// post's count.
    async fn shown(&self, post: PostId, viewer: Viewer, roots: usize) -> (Vec<CommentId>, i64) {
        let (mut shown, mut count) = (Vec::new(), 0);
        let mut pending: Vec<Option<Cursor>> = vec![None];
        while let Some(cursor) = pending.pop() {
            let wanted = Wanted {
                site: SITE.into(),
                post: PostKey::Id(post),
                viewer: viewer.clone(),
                order: Order::NewestFirst,
                roots,
                replies_per_root: 2,
                cursor,
            };
            let page = self.reader.thread(&wanted).await.unwrap().unwrap();
            count = page.post.comments;
            pending.extend(page.next.map(Some));
            for entry in page.comments {
                shown.push(entry.seen.comment.id);
                pending.extend(entry.next.map(Some));
            }
        }
        (shown, count)
    }
}

async fn check(steps: Vec<Step>, orders: [Vec<usize>; 2], roots: usize) {
    let thread = Thread::of(&steps);
    let [one, other] = orders;
    let (mut first, mut second) = (Fixture::new().await, Fixture::new().await);
    fold(&mut first.view, &thread, &one).await;
    fold(&mut second.view, &thread, &other).await;
    assert_eq!(first.digest().await, second.digest().await, "the order of sources matters");

    let (shown, count) = first.shown(thread.post, Viewer::Public, roots).await;
    let visible = (0..thread.comments.len()).filter(|number| thread.is_visible(*number));
    let expected: BTreeSet<CommentId> =
        visible.clone().map(|number| thread.comments[number].id).collect();
    assert_eq!(shown.len(), expected.len(), "a comment is shown twice");
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), expected);
    let counted = visible.filter(|number| !thread.comments[*number].deleted).count();
    assert_eq!(count, counted as i64, "the count is not exact");

    let (all, _) = first.shown(thread.post, Viewer::Moderator, roots).await;
    assert_eq!(all.len(), thread.comments.len());
    let own = Viewer::Author("bob".into());
    let (own, _) = first.shown(thread.post, own, 500).await;
    let own: BTreeSet<CommentId> = own.into_iter().collect();
    assert!(own.is_superset(&expected), "an author sees less than everybody");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_order_of_the_sources_gives_the_same_exact_view(
        steps in steps(),
        one in prop::collection::vec(0..100usize, 1..20),
        other in prop::collection::vec(0..100usize, 1..20),
        roots in 1..4usize,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(check(steps, [one, other], roots));
    }
}

#[tokio::test]
async fn what_cannot_be_folded_is_parked_and_nothing_is_dropped() {
    let mut fixture = Fixture::new().await;
    let thread = Thread::of(&[
        Step::Create { parent: 0 },
        Step::Create { parent: 0 },
        Step::Update { comment: 0 },
        Step::Create { parent: 0 },
    ]);
    let mut events = thread.events[&Source::Comment].clone();
    // The first comment has no author: it cannot be folded, and its update waits behind.
    if let Kind::CommentCreated(created) = &mut events[0].kind {
        created.author = None;
    }
    let mut head = Checkpoint::ZERO;
    let batch = batch(Source::Comment, &mut head, &events);
    assert_eq!(fixture.view.newest_revision().await.unwrap(), None);
    fixture.view.apply(std::slice::from_ref(&batch)).await.unwrap();
    assert_eq!(fixture.view.newest_revision().await.unwrap(), Some(events[3].id.into()));
    assert_eq!(fixture.reader.parked().await.unwrap(), 2);
    let comments = &fixture.digest().await.tables[1];
    assert_eq!((comments.table, comments.rows), ("comment", 2));
    assert_eq!(fixture.view.checkpoint(Source::Comment).await.unwrap(), head);
    // The same once more is refused: the checkpoint has moved.
    assert!(fixture.view.apply(&[batch]).await.is_err());
}

/// A view that was brought back by retries equals one that had all from the beginning.
#[tokio::test]
async fn a_dead_letter_that_is_tried_again_is_folded_once() {
    let thread = Thread::of(&[
        Step::Create { parent: 0 },
        Step::Create { parent: 1 },
        Step::Update { comment: 0 },
        Step::Decide { revision: 0, decision: 2 },
        Step::Decide { revision: 1, decision: 2 },
    ]);
    let mut whole = Fixture::new().await;
    fold(&mut whole.view, &thread, &[0]).await;

    let mut fixture = Fixture::new().await;
    for (source, events) in &thread.events {
        let mut head = Checkpoint::ZERO;
        let mut batch = batch(*source, &mut head, events);
        if *source == Source::Comment {
            // An older program did not know its type.
            let aggregate = batch.deliveries[0].aggregate();
            batch.deliveries[0].event = Err(DecodeError::UnknownType { aggregate });
        }
        fixture.view.apply(&[batch]).await.unwrap();
    }
    assert_eq!(fixture.reader.parked().await.unwrap(), 2);
    assert_ne!(fixture.digest().await, whole.digest().await);

    let letters = fixture.folder.path().join("view.dead-letters.db");
    let mut letters = database::options(&letters).connect().await.unwrap();
    let keep = "CREATE TABLE kept AS SELECT source, sequence, aggregate, event, error, parked_at, program \
                FROM dead_letter";
    sqlx::query(keep).execute(&mut letters).await.unwrap();
    let retried = fixture.view.retry(Source::Comment, Sequence(3), "olga").await;
    assert!(matches!(retried, Err(Refused::Waits { .. })), "{retried:?}");
    let (repaired, posts) = fixture.view.retry(Source::Comment, Sequence(1), "olga").await.unwrap();
    assert_eq!((repaired.applied, repaired.stopped_at), (2, None));
    assert_eq!(posts, BTreeSet::from([thread.post]));
    assert_eq!(fixture.reader.parked().await.unwrap(), 0);
    assert_eq!(fixture.digest().await, whole.digest().await);

    // As after a crash between the view's commit and that of the letters.
    let again = "INSERT INTO dead_letter \
                 (source, sequence, aggregate, event, error, parked_at, program) \
                 SELECT source, sequence, aggregate, event, error, parked_at, program FROM kept";
    sqlx::query(again).execute(&mut letters).await.unwrap();
    fixture.view.retry(Source::Comment, Sequence(1), "olga").await.unwrap();
    assert_eq!(fixture.digest().await, whole.digest().await);
}

/// Halving finds what the database refuses, which the fold does not know of.
#[tokio::test]
async fn what_the_database_refuses_is_parked_alone() {
    let thread = Thread::of(&[Step::Create { parent: 0 }, Step::Create { parent: 0 }]);
    let mut fixture = Fixture::new().await;
    let events = &thread.events[&Source::Comment];
    let refused = events[1].aggregate.unwrap();
    let path = fixture.folder.path().join("view.db");
    let mut other = database::options(&path).connect().await.unwrap();
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON comment WHEN hex(NEW.comment_id) = '{}' \
         BEGIN INSERT INTO checkpoint (source, sequence, hash) VALUES ('post', 'not a number', x''); END",
        refused.simple().to_string().to_uppercase()
    );
    sqlx::query(sqlx::AssertSqlSafe(trigger)).execute(&mut other).await.unwrap();
    let mut head = Checkpoint::ZERO;
    let batch = batch(Source::Comment, &mut head, events);
    fixture.view.apply(&[batch]).await.unwrap();
    assert_eq!(fixture.reader.parked().await.unwrap(), 1);
    assert_eq!(fixture.digest().await.tables[1].rows, 1);
}

/// What came before a parked event is folded again, what came after it waits again.
#[tokio::test]
async fn a_view_that_is_made_anew_holds_what_the_old_one_held() {
    let thread = Thread::of(&[
        Step::Create { parent: 0 },
        Step::Update { comment: 0 },
        Step::Update { comment: 0 },
        Step::Create { parent: 1 },
    ]);
    let mut old = Fixture::new().await;
    let mut head = Checkpoint::ZERO;
    let mut batch = batch(Source::Comment, &mut head, &thread.events[&Source::Comment]);
    let aggregate = batch.deliveries[1].aggregate();
    batch.deliveries[1].event = Err(DecodeError::UnknownType { aggregate });
    old.view.apply(std::slice::from_ref(&batch)).await.unwrap();
    assert_eq!(old.reader.parked().await.unwrap(), 2);

    let path = old.folder.path().join("view.2.db");
    let letters = old.folder.path().join("view.dead-letters.db");
    let mut new = View::open_beside(&path, &letters).await.unwrap();
    new.apply(&[batch]).await.unwrap();
    let reader = Reader::new(new.readers(1).await.unwrap(), new.letters(1).await.unwrap());
    assert_eq!(reader.parked().await.unwrap(), 2);
    assert_eq!(reader.digest().await.unwrap(), old.digest().await);
}
