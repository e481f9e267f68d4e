//! Events that the service cannot apply: what operators see of them, and what they can do.

use agora_comment::store::{Postgres, Sqlite};
use agora_proto::{
    admin::v1::{
        DeadLetter, DropDeadLetterRequest, GetDeadLetterRequest, ListDeadLetterActionsRequest,
        ListDeadLettersRequest, RetryDeadLetterRequest,
    },
    event::v1 as proto,
};
use bus_schema::{CommentId, Event, EventId, Kind, PostId, Source, Time, plain};
use chassis::{
    config,
    testing::{Refusal, eventually},
};
use eventstore::{Store, database::Backend as _, journal::Row, on_every_database};
use tonic::Code;

use crate::fixture::{self, Fixture, Letters, SITE};

on_every_database! {
    fixture::Kind::Files, fixture::Kind::Schemas;
    what_cannot_be_applied_is_listed_tried_again_and_dropped,
}

/// Events as a newer comment service would write them: the first has a sealed content,
/// which this program cannot open, the second follows it.
fn events() -> Vec<Event> {
    let (id, post) = (CommentId::new(), PostId::new());
    let sealed =
        proto::Content { data: b"?".as_slice().into(), key_id: "k1".into(), ..Default::default() };
    let created = proto::CommentCreated {
        body: Some(sealed),
        author: Some(proto::Author { id: "bob".into(), name: Some(plain("Bob")) }),
        create_time: Some(Time::now().into()),
        ..Default::default()
    };
    let updated = proto::CommentUpdated { revision: 2, body: Some(plain("changed")) };
    let kinds = [Kind::CommentCreated(created), Kind::CommentUpdated(updated)];
    let events = kinds.into_iter().map(|kind| Event {
        id: EventId::new(),
        source: Source::Comment,
        sequence: Default::default(),
        time: Time::now(),
        actor: "bob".into(),
        request: None,
        site: SITE.parse().unwrap(),
        post_id: Some(post),
        aggregate: Some(id.uuid()),
        traceparent: String::new(),
        kind,
    });
    events.collect()
}

/// Appends events to a journal whose service is stopped.
async fn append<S: Store>(settings: &config::Database, events: Vec<Event>) {
    let mut database = S::Backend::open(settings, S::migrations()).await.unwrap();
    let mut head = S::Backend::begin(&mut database.writer).await.unwrap();
    let rows = events.into_iter().map(|mut event| {
        event.sequence = head.sequence.next();
        let event = event.encode();
        head = head.extend(&event);
        Row { sequence: head.sequence, hash: head.hash, event }
    });
    let rows: Vec<Row> = rows.collect();
    S::Backend::append(&mut database.writer, &rows, &[]).await.unwrap();
    S::Backend::commit(&mut database.writer).await.unwrap();
}

async fn list(letters: &mut Letters) -> Vec<DeadLetter> {
    let request = ListDeadLettersRequest { service: "moderation".into() };
    let mut answers = letters.list_dead_letters(request).await.unwrap().into_inner();
    let mut listed = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        listed.extend(answer.dead_letters);
    }
    listed
}

fn retry(letter: &DeadLetter) -> RetryDeadLetterRequest {
    let DeadLetter { service, source, sequence, .. } = letter.clone();
    RetryDeadLetterRequest { service, source, sequence }
}

fn drop(letter: &DeadLetter, reason: &str) -> DropDeadLetterRequest {
    let DeadLetter { service, source, sequence, .. } = letter.clone();
    DropDeadLetterRequest { service, source, sequence, reason: reason.into() }
}

async fn what_cannot_be_applied_is_listed_tried_again_and_dropped(kind: fixture::Kind) {
    let mut fixture = Fixture::start(kind).await;
    fixture.held_comment().await;
    fixture.stop().await;
    match kind {
        fixture::Kind::Files => append::<Sqlite>(fixture.comment_database(), events()).await,
        fixture::Kind::Schemas => append::<Postgres>(fixture.comment_database(), events()).await,
    }
    fixture.start_again().await;
    // Others pass.
    fixture.held_comment().await;

    let mut letters = fixture.letters("olga");
    let listed = eventually("both events to be parked", async || {
        Some(list(&mut letters).await).filter(|listed| listed.len() == 2)
    })
    .await;
    let [first, second] = <[DeadLetter; 2]>::try_from(listed).unwrap();
    assert!(first.error.contains("k1"), "{first:?}");
    assert_eq!((first.r#type.as_str(), second.error.as_str()), ("comment_created", ""));
    assert_eq!(first.aggregate_id, second.aggregate_id);
    let request = GetDeadLetterRequest {
        service: "moderation".into(),
        source: second.source,
        sequence: second.sequence,
    };
    let shown = letters.get_dead_letter(request).await.unwrap().into_inner();
    assert_eq!(shown.dead_letter.as_ref(), Some(&second));
    assert_eq!(Event::decode(shown.event.into()).unwrap().sequence.0, second.sequence);

    let waits = Refusal::of(letters.retry_dead_letter(retry(&second)).await);
    assert_eq!(
        (waits.code, waits.reason.as_str()),
        (Code::FailedPrecondition, "DEAD_LETTER_WAITS")
    );
    let waits = Refusal::of(letters.drop_dead_letter(drop(&second, "no")).await);
    assert_eq!(waits.reason, "DEAD_LETTER_WAITS");
    let empty = Refusal::of(letters.drop_dead_letter(drop(&first, "")).await);
    assert_eq!(empty.fields, ["reason"]);

    let tried = letters.retry_dead_letter(retry(&first)).await.unwrap().into_inner();
    assert_eq!((tried.applied, tried.stopped_at.unwrap().sequence), (0, first.sequence));

    // What follows the one that is dropped is tried: it cannot be applied by itself either.
    let dropped = letters.drop_dead_letter(drop(&first, "a test")).await.unwrap().into_inner();
    assert_eq!((dropped.applied, dropped.stopped_at.unwrap().sequence), (0, second.sequence));
    letters.drop_dead_letter(drop(&second, "a test")).await.unwrap();
    assert!(list(&mut letters).await.is_empty());
    let gone = Refusal::of(letters.retry_dead_letter(retry(&second)).await);
    assert_eq!((gone.code, gone.reason.as_str()), (Code::NotFound, "DEAD_LETTER_NOT_FOUND"));

    let request = ListDeadLetterActionsRequest { service: "moderation".into(), page_size: 0 };
    let answer = letters.list_dead_letter_actions(request).await.unwrap().into_inner();
    let actions: Vec<(&str, &str, u64, bool)> = answer
        .actions
        .iter()
        .map(|action| {
            let failed = !action.error.is_empty();
            (action.actor.as_str(), action.action.as_str(), action.sequence, failed)
        })
        .collect();
    let expected = [
        ("olga", "dropped", second.sequence, false),
        ("olga", "retried", second.sequence, true),
        ("olga", "dropped", first.sequence, false),
        ("olga", "retried", first.sequence, true),
    ];
    assert_eq!(actions, expected);

    let author = Refusal::of(
        fixture.letters_as(chassis::auth::Role::Author).retry_dead_letter(retry(&first)).await,
    );
    assert_eq!(author.code, Code::PermissionDenied);
}
