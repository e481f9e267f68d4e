//! What becomes of batches that are folded in parts.

use agora_proto::event::v1::{Author, CommentCreated, CommentDeleted, RevisionDecided};
use bus_schema::{Event, Hash, Kind, PostId, Sequence, Time, plain};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

fn delivery(id: u128, kind: Kind) -> Delivery {
    let event = Event {
        id: Uuid::from_u128(id).into(),
        source: Source::Comment,
        sequence: Sequence(1),
        time: Time::default(),
        actor: String::new(),
        request: None,
        site: "blog".parse().unwrap(),
        post_id: Some(PostId::from(Uuid::from_u128(1))),
        aggregate: Some(Uuid::from_u128(id)),
        traceparent: String::new(),
        kind,
    };
    let (sequence, hash) = (Sequence(1), Hash([0; 32]));
    Delivery { sequence, hash, bytes: Default::default(), event: Ok(Box::new(event)) }
}

/// The event with this id makes a comment.
pub(super) fn created(id: u128) -> Delivery {
    let created = CommentCreated {
        author: Some(Author { id: "ada".into(), name: None }),
        body: Some(plain("a comment")),
        create_time: Some(Time::default().into()),
        ..Default::default()
    };
    delivery(id, Kind::CommentCreated(created))
}

/// A comment is deleted.
pub(super) fn deleted() -> Delivery {
    delivery(99, Kind::CommentDeleted(CommentDeleted::default()))
}

/// A decision on the revision that the event with this id has made.
pub(super) fn decided_on(id: u128) -> Delivery {
    let revision_id = RevisionId::from(Uuid::from_u128(id)).to_bytes();
    let decided = RevisionDecided { revision_id, revision: 1, ..Default::default() };
    delivery(id, Kind::RevisionDecided(decided))
}

/// A writer of an empty view.
async fn writer() -> (Writer, Watermarks, TempDir) {
    let folder = TempDir::new().unwrap();
    let view = View::open(&folder.path().join("view.db")).await.unwrap();
    let watermarks = Watermarks::new(&Source::ALL);
    let (writer, _) = Writer::new(view, None, watermarks.clone(), Arc::new(Pages::new()));
    (writer, watermarks, folder)
}

/// Hands events over that follow this checkpoint, as a consumer does.
fn hold(
    writer: &mut Writer,
    source: Source,
    from: Checkpoint,
    mut deliveries: Vec<Delivery>,
) -> oneshot::Receiver<Result<(), Error>> {
    for (delivery, sequence) in deliveries.iter_mut().zip(from.sequence.0 + 1..) {
        delivery.sequence = Sequence(sequence);
    }
    let sequence = deliveries.last().unwrap().sequence;
    let to = Checkpoint { sequence, hash: Hash([0; 32]) };
    let batch = Batch { source, from, to, deliveries };
    let (answer, answered) = oneshot::channel();
    writer.held.insert(source, Held { batch, answer, until: Instant::now() + MAX_HELD });
    answered
}

/// How far the writer is with a source.
fn at(watermarks: &Watermarks, source: Source) -> u64 {
    watermarks.reached().get(source).0
}

#[tokio::test]
async fn a_batch_is_answered_once_all_of_it_is_folded() {
    let (mut writer, watermarks, _folder) = writer().await;
    let mut comments =
        hold(&mut writer, Source::Comment, Checkpoint::ZERO, vec![created(5), created(6)]);
    let mut decisions =
        hold(&mut writer, Source::Moderation, Checkpoint::ZERO, vec![decided_on(5)]);

    writer.fold().await;
    assert_eq!((at(&watermarks, Source::Comment), at(&watermarks, Source::Moderation)), (1, 1));
    decisions.try_recv().expect("an answer").unwrap();
    comments.try_recv().expect_err("half of it is still to be folded");

    let from = Checkpoint { sequence: Sequence(1), hash: Hash([0; 32]) };
    let mut decisions = hold(&mut writer, Source::Moderation, from, vec![decided_on(6)]);
    writer.fold().await;
    assert_eq!((at(&watermarks, Source::Comment), at(&watermarks, Source::Moderation)), (2, 2));
    decisions.try_recv().expect("an answer").unwrap();
    comments.try_recv().expect("an answer").unwrap();
    assert!(writer.held.is_empty());
}

#[tokio::test]
async fn what_is_left_of_a_batch_waits_its_own_time() {
    let (mut writer, _, _folder) = writer().await;
    let _comments =
        hold(&mut writer, Source::Comment, Checkpoint::ZERO, vec![created(5), created(6)]);
    let _decisions = hold(&mut writer, Source::Moderation, Checkpoint::ZERO, vec![decided_on(5)]);
    let first = writer.held[&Source::Comment].until;
    writer.fold().await;
    assert!(writer.held[&Source::Comment].until > first);
}

#[tokio::test]
async fn a_batch_that_cannot_be_folded_is_given_back_whole() {
    let (mut writer, watermarks, _folder) = writer().await;
    // It does not follow what the view holds.
    let from = Checkpoint { sequence: Sequence(7), hash: Hash([7; 32]) };
    let mut comments = hold(&mut writer, Source::Comment, from, vec![created(5), created(6)]);
    let mut decisions =
        hold(&mut writer, Source::Moderation, Checkpoint::ZERO, vec![decided_on(5)]);
    writer.fold().await;
    comments.try_recv().expect("an answer").unwrap_err();
    decisions.try_recv().expect("an answer").unwrap_err();
    assert!(writer.held.is_empty(), "the rest of it must not be folded later");
    assert_eq!((at(&watermarks, Source::Comment), at(&watermarks, Source::Moderation)), (0, 0));
}
