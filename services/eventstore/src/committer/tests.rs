#![allow(clippy::unwrap_used)]

mod rewind;

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use agora_proto::event::v1 as proto;
use bus_schema::{
    Checkpoint, DecodeError, Event, EventId, Kind, KindName, PostId, RequestId, RequestMark,
    Sequence, Source, Time, plain,
};
use sqlx::{
    ConnectOptions as _, Row as _, SqlSafeStr as _, Sqlite, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Committed, Committer, Writer};
use crate::{
    Watermarks,
    consumer::Sink as _,
    database::{self, Backend},
    dead_letter::{Done, Letters as _, MAX_PARKED, Refused, Repair, Repaired, Repairs as _},
    delivery::{Batch, Delivery},
    domain::{ApplyError, Caused, ConsumeError, Consumed, Domain, Draft, Forgetting, Store},
    gate::Gate,
};
use chassis::{Error, call::Origin, config, content};

/// Titles by post: as little as a service can be.
struct Titles;

impl Domain for Titles {
    const SOURCE: Source = Source::Post;
    const CONSUMES: &'static [Source] = &[Source::Comment];
    type Command = (PostId, String);
    type State = HashMap<PostId, String>;
    type Reply = String;
    type Error = Error;

    fn decide(
        state: &Self::State,
        origin: &Origin,
        (id, title): &Self::Command,
        _now: Time,
    ) -> Result<Vec<Draft>, Error> {
        assert_ne!(title, "panic", "as the test asks for");
        if state.contains_key(id) {
            return Err(Error::invalid("post_id", "is taken"));
        }
        let mut draft = draft(origin.site.as_str(), *id, title);
        if title == "another type" {
            let title = Some(plain(title));
            draft.kind = Kind::PostUpdated(proto::PostUpdated { title, ..Default::default() });
        }
        Ok(vec![draft])
    }

    fn makes(_command: &Self::Command) -> KindName {
        KindName::PostCreated
    }

    fn apply(state: &mut Self::State, event: &Event) -> Result<(), ApplyError> {
        state.insert(event.post_id.unwrap(), Self::reply(state, event)?);
        Ok(())
    }

    fn reply(_state: &Self::State, event: &Event) -> Result<String, ApplyError> {
        let title = match &event.kind {
            Kind::PostCreated(created) => created.title.as_ref(),
            Kind::PostUpdated(updated) => updated.title.as_ref(),
            _ => return Err("an event that no command makes".into()),
        };
        Ok(content::open(title)?.to_owned())
    }
}

fn draft(site: &str, id: PostId, title: &str) -> Draft {
    let created = proto::PostCreated { title: Some(plain(title)), ..Default::default() };
    Draft {
        site: site.parse().unwrap(),
        post_id: Some(id),
        aggregate: Some(id.uuid()),
        actor: "ada".into(),
        kind: Kind::PostCreated(created),
    }
}

/// A table that refuses the title `poison`.
struct Table;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let sql = "CREATE TABLE title (
        post_id BLOB PRIMARY KEY, title TEXT NOT NULL CHECK (title <> 'poison')
    ) STRICT";
    Migrator::with_migrations(vec![Migration::new(
        1,
        "title".into(),
        MigrationType::Simple,
        sqlx::AssertSqlSafe(sql).into_sql_str(),
        false,
    )])
});

impl Store for Table {
    type Domain = Titles;
    type Backend = Sqlite;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        _commands: &[&(PostId, String)],
    ) -> Result<HashMap<PostId, String>, sqlx::Error> {
        let rows = sqlx::query("SELECT post_id, title FROM title").fetch_all(connection).await?;
        Ok(rows
            .iter()
            .map(|row| (PostId::from_slice(row.get("post_id")).unwrap(), row.get("title")))
            .collect())
    }

    async fn load_for(
        &self,
        connection: &mut SqliteConnection,
        _events: &[Event],
    ) -> Result<HashMap<PostId, String>, sqlx::Error> {
        self.load(connection, &[]).await
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        state: &HashMap<PostId, String>,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        for event in events {
            let id = event.post_id.unwrap();
            sqlx::query("INSERT INTO title (post_id, title) VALUES (?, ?)")
                .bind(id.as_bytes().as_slice())
                .bind(&state[&id])
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    async fn consume(
        &self,
        _connection: &mut SqliteConnection,
        _source: Source,
        events: &[Event],
    ) -> Result<Consumed<HashMap<PostId, String>>, ConsumeError> {
        let mut caused = Vec::new();
        for event in events {
            let Kind::CommentUpdated(updated) = &event.kind else {
                return Err(ConsumeError::Event("a type that nobody expects".into()));
            };
            let title = content::open(updated.body.as_ref()).unwrap();
            let id = PostId::new();
            caused.push(Caused { draft: draft("blog", id, title), traceparent: String::new() });
        }
        Ok(Consumed { caused, state: HashMap::new() })
    }

    fn forgetting(source: Source) -> Forgetting {
        // What it consumes leaves nothing.
        let deletes: &[&str] = if source == Source::Post { &["DELETE FROM title"] } else { &[] };
        Forgetting { deletes, again: &[] }
    }
}

struct Fixture {
    committer: Committer<Table>,
    folder: TempDir,
}

async fn fixture(gate: Gate) -> Fixture {
    let folder = TempDir::new().unwrap();
    let settings = config::Database { path: folder.path().join("test.db"), ..Default::default() };
    let database = Sqlite::open(&settings, &MIGRATIONS).await.unwrap();
    let watermarks = Watermarks::new(&[Source::Post, Source::Comment]);
    let (writer, committer) = Writer::open(Table, database, watermarks).await.unwrap();
    tokio::spawn(writer.run());
    committer.set_gate(gate);
    Fixture { committer, folder }
}

fn origin(request: Option<RequestMark>) -> Origin {
    Origin {
        site: "blog".parse().unwrap(),
        actor: "ada".into(),
        request,
        deadline: Instant::now() + Duration::from_secs(5),
        traceparent: String::new(),
        size: 100,
    }
}

fn mark(hash: u8) -> RequestMark {
    RequestMark { id: RequestId::from(uuid::Uuid::nil()), hash: [hash; 32] }
}

async fn journal(committer: &Committer<Table>) -> Vec<Event> {
    let mut connection = committer.readers.acquire().await.unwrap();
    let rows = Sqlite::rows(&mut connection, Sequence(1), 10_000).await.unwrap();
    let mut head = Checkpoint::ZERO;
    let events = rows.into_iter().map(|row| {
        head = head.extend(&row.event);
        assert_eq!(row.checkpoint(), head);
        Event::decode(row.event).unwrap()
    });
    let events: Vec<Event> = events.collect();
    assert_eq!(Sqlite::head(&mut connection).await.unwrap(), head);
    events
}

/// The titles in the journal, in order.
async fn titles(committer: &Committer<Table>) -> Vec<String> {
    let events = journal(committer).await;
    events.iter().map(|event| Titles::reply(&HashMap::new(), event).unwrap()).collect()
}

#[tokio::test]
async fn commands_are_committed_in_the_order_of_their_arrival() {
    let fixture = fixture(Gate::Open).await;
    let submitted = (0..600).map(|number| {
        fixture.committer.submit(origin(None), (PostId::new(), format!("{number:03}")))
    });
    for (number, outcome) in futures::future::join_all(submitted).await.into_iter().enumerate() {
        let Committed { reply, position } = outcome.unwrap();
        assert_eq!(reply, format!("{number:03}"));
        assert_eq!(position.get(Source::Post), Sequence(number as u64 + 1));
    }
    let expected: Vec<String> = (0..600).map(|number| format!("{number:03}")).collect();
    assert_eq!(titles(&fixture.committer).await, expected);
}

#[tokio::test]
async fn what_breaks_a_rule_panics_or_cannot_be_written_fails_alone() {
    let fixture = fixture(Gate::Open).await;
    let taken = PostId::new();
    let commands = [
        (taken, "one"),
        (taken, "taken in the same batch"),
        (PostId::new(), "panic"),
        (PostId::new(), "poison"),
        (PostId::new(), "another type"),
        (PostId::new(), "two"),
    ];
    let submitted =
        commands.map(|(id, title)| fixture.committer.submit(origin(None), (id, title.to_owned())));
    let outcomes = futures::future::join_all(submitted).await;
    let kept: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(kept, [true, false, false, false, false, true]);
    assert_eq!(titles(&fixture.committer).await, ["one", "two"]);
}

#[tokio::test]
async fn a_retry_has_one_effect_and_the_same_answer() {
    let fixture = fixture(Gate::Open).await;
    let submit = |hash, title: &str| {
        fixture.committer.submit(origin(Some(mark(hash))), (PostId::new(), title.to_owned()))
    };
    // In one batch, and in one of its own.
    let (first, second) = tokio::join!(submit(1, "one"), submit(1, "two"));
    let third = submit(1, "three").await.unwrap();
    assert_eq!(first.unwrap(), third);
    assert_eq!(second.unwrap(), third);
    assert_eq!(third.reply, "one");
    assert!(matches!(submit(2, "one").await, Err(Error::RequestIdReused)));
    assert_eq!(titles(&fixture.committer).await, ["one"]);
}

#[tokio::test]
async fn writes_wait_until_the_journal_is_compared() {
    let fixture = fixture(Gate::Comparing("a stream".into())).await;
    let mut late = origin(None);
    late.deadline = Instant::now() + Duration::from_millis(50);
    let refused = fixture.committer.submit(late, (PostId::new(), "late".into())).await;
    assert!(matches!(refused, Err(Error::NotCompared(_))), "{refused:?}");

    let waiting = fixture.committer.submit(origin(None), (PostId::new(), "waits".into()));
    let (outcome, ()) = tokio::join!(waiting, async { fixture.committer.set_gate(Gate::Open) });
    assert_eq!(outcome.unwrap().reply, "waits");

    fixture.committer.set_gate(Gate::Halted("a fork".into()));
    let refused = fixture.committer.submit(origin(None), (PostId::new(), "no".into())).await;
    assert!(matches!(refused, Err(Error::Halted(_))), "{refused:?}");
    assert_eq!(titles(&fixture.committer).await, ["waits"]);
}

#[tokio::test]
async fn writes_go_on_after_a_journal_that_could_not_be_read() {
    let fixture = fixture(Gate::Open).await;
    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    sqlx::query("ALTER TABLE journal_head RENAME TO away").execute(&mut other).await.unwrap();
    let refused = fixture.committer.submit(origin(None), (PostId::new(), "lost".into())).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");

    sqlx::query("ALTER TABLE away RENAME TO journal_head").execute(&mut other).await.unwrap();
    fixture.committer.submit(origin(None), (PostId::new(), "kept".into())).await.unwrap();
    assert_eq!(titles(&fixture.committer).await, ["kept"]);
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let fixture = fixture(Gate::Comparing("nothing".into())).await;
    let mut large = origin(None);
    large.size = super::MAX_QUEUED_BYTES;
    let committer = fixture.committer.clone();
    let waiting =
        tokio::spawn(async move { committer.submit(large, (PostId::new(), "large".into())).await });
    tokio::task::yield_now().await;
    let refused = fixture.committer.submit(origin(None), (PostId::new(), "more".into())).await;
    assert!(matches!(refused, Err(Error::Overloaded(_))), "{refused:?}");
    waiting.abort();
}

/// Events of another source: comments of these aggregates, in order, with these bodies.
fn batch(from: Checkpoint, comments: &[(u8, Kind)]) -> Batch {
    let mut to = from;
    let deliveries = comments.iter().map(|(aggregate, kind)| {
        let event = Event {
            id: EventId::new(),
            source: Source::Comment,
            sequence: to.sequence.next(),
            time: Time::now(),
            actor: "bob".into(),
            request: None,
            site: "blog".parse().unwrap(),
            post_id: None,
            aggregate: Some(uuid::Uuid::from_bytes([*aggregate; 16])),
            traceparent: String::new(),
            kind: kind.clone(),
        };
        let bytes = event.encode();
        to = to.extend(&bytes);
        Delivery { sequence: to.sequence, hash: to.hash, bytes, event: Ok(Box::new(event)) }
    });
    let deliveries = deliveries.collect();
    Batch { source: Source::Comment, from, to, deliveries }
}

fn body(text: &str) -> Kind {
    Kind::CommentUpdated(proto::CommentUpdated { revision: 1, body: Some(plain(text)) })
}

#[tokio::test]
async fn a_poisoned_event_is_parked_and_what_follows_it_waits() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let unexpected = Kind::CommentDeleted(proto::CommentDeleted { revision: 1 });
    let first = batch(
        Checkpoint::ZERO,
        &[
            (1, body("a")),
            (2, body("poison")),
            (2, body("waits")),
            (3, unexpected),
            (1, body("b")),
            (3, body("waits too")),
        ],
    );
    let end = first.to;
    committer.apply(first.clone()).await.unwrap();
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), end);
    assert_eq!(titles(committer).await, ["a", "b"]);

    let second = batch(end, &[(2, body("still waits")), (4, body("c"))]);
    committer.apply(second).await.unwrap();
    assert_eq!(titles(committer).await, ["a", "b", "c"]);
    let parked: Vec<(i64, String)> =
        sqlx::query_as("SELECT sequence, error FROM dead_letter ORDER BY sequence")
            .fetch_all(&committer.readers)
            .await
            .unwrap();
    let sequences: Vec<i64> = parked.iter().map(|(sequence, _)| *sequence).collect();
    let with_error: Vec<i64> =
        parked.iter().filter(|(_, error)| !error.is_empty()).map(|(n, _)| *n).collect();
    assert_eq!((sequences, with_error), (vec![2, 3, 4, 6, 7], vec![2, 4]));

    // The same once more: the checkpoint has moved, and nothing happens.
    assert!(committer.apply(first).await.is_err());
    assert_eq!(titles(committer).await, ["a", "b", "c"]);
}

/// The numbers of a source's letters.
async fn parked(committer: &Committer<Table>) -> Vec<u64> {
    let mut connection = committer.readers.acquire().await.unwrap();
    let letters = Sqlite::letters(&mut connection, Source::Comment, Sequence::ZERO, 100).await;
    letters.unwrap().into_iter().map(|letter| letter.sequence.0).collect()
}

fn retry(sequence: u64) -> Repair {
    let (source, sequence) = (Source::Comment, Sequence(sequence));
    Repair::Retry { source, sequence, actor: "olga".into() }
}

fn stopped_at(repaired: &Repaired) -> Option<u64> {
    repaired.stopped_at.as_ref().map(|letter| letter.sequence.0)
}

/// Has the table take every title.
async fn heal(fixture: &Fixture) {
    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    let heal = "DROP TABLE title; \
                CREATE TABLE title (post_id BLOB PRIMARY KEY, title TEXT NOT NULL) STRICT";
    sqlx::raw_sql(heal).execute(&mut other).await.unwrap();
}

#[tokio::test]
async fn a_dead_letter_that_is_tried_again_takes_what_waits_with_it() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let first = batch(
        Checkpoint::ZERO,
        &[(1, body("poison")), (1, body("a")), (2, body("poison")), (1, body("poison"))],
    );
    let end = first.to;
    committer.apply(first).await.unwrap();
    assert_eq!(parked(committer).await, [1, 2, 3, 4]);

    let repaired = committer.repair(retry(1)).await.unwrap();
    assert_eq!((repaired.applied, stopped_at(&repaired)), (0, Some(1)));
    let refused = committer.repair(retry(2)).await;
    assert!(matches!(refused, Err(Refused::Waits { behind: Sequence(1), .. })), "{refused:?}");
    let refused = committer.repair(retry(5)).await;
    assert!(matches!(refused, Err(Refused::Absent { .. })), "{refused:?}");

    heal(&fixture).await;
    let repaired = committer.repair(retry(1)).await.unwrap();
    assert_eq!((repaired.applied, stopped_at(&repaired)), (3, None));
    assert_eq!(parked(committer).await, [3]);
    // Nothing waits behind what was applied; the other aggregate does.
    committer.apply(batch(end, &[(1, body("b")), (2, body("c"))])).await.unwrap();
    assert_eq!(titles(committer).await, ["poison", "a", "poison", "b"]);
    assert_eq!(parked(committer).await, [3, 6]);

    let (source, sequence) = (Source::Comment, Sequence(3));
    let (actor, reason) = ("olga".to_owned(), "a test".to_owned());
    let dropped = committer.repair(Repair::Drop { source, sequence, actor, reason }).await.unwrap();
    assert_eq!((dropped.applied, stopped_at(&dropped)), (1, None));
    assert_eq!(titles(committer).await, ["poison", "a", "poison", "b", "c"]);
    assert!(parked(committer).await.is_empty());

    let mut connection = committer.readers.acquire().await.unwrap();
    let actions = Sqlite::actions(&mut connection, 100).await.unwrap();
    let kept: Vec<(u64, Done, bool)> = actions
        .iter()
        .rev()
        .map(|action| (action.sequence.0, action.done, action.error.is_empty()))
        .collect();
    let expected = [
        (1, Done::Retried, false),
        (1, Done::Retried, true),
        (2, Done::Retried, true),
        (4, Done::Retried, true),
        (3, Done::Dropped, true),
        (6, Done::Retried, true),
    ];
    assert_eq!(kept, expected);
    let dropped = actions.iter().find(|action| action.done == Done::Dropped).unwrap();
    assert_eq!((dropped.actor.as_str(), dropped.reason.as_str()), ("olga", "a test"));
    assert_eq!(Event::decode(dropped.event.clone()).unwrap().sequence, Sequence(3));
}

#[tokio::test]
async fn another_replica_takes_letters_out_while_this_one_consumes() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let first = batch(Checkpoint::ZERO, &[(1, body("poison"))]);
    let end = first.to;
    committer.apply(first).await.unwrap();
    // As another replica's transaction does.
    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    assert!(Sqlite::unpark(&mut other, Source::Comment, Sequence(1)).await.unwrap());
    committer.apply(batch(end, &[(1, body("a"))])).await.unwrap();
    assert_eq!(titles(committer).await, ["a"]);
}

#[tokio::test]
async fn what_another_program_has_parked_is_tried_again_by_itself() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let mut first = batch(Checkpoint::ZERO, &[(1, body("a")), (1, body("b")), (2, body("poison"))]);
    // An older program did not know its type.
    let aggregate = first.deliveries[0].aggregate();
    first.deliveries[0].event = Err(DecodeError::UnknownType { aggregate });
    let end = first.to;
    committer.apply(first).await.unwrap();
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), end);
    assert_eq!(parked(committer).await, [1, 2, 3]);

    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    let older = sqlx::query("UPDATE dead_letter SET program = '0.0.1'");
    older.execute(&mut other).await.unwrap();
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), end);
    assert_eq!(titles(committer).await, ["a", "b"]);
    assert_eq!(parked(committer).await, [3]);
    // Each program tries once.
    committer.checkpoint(Source::Comment).await.unwrap();
    let tries: i64 = sqlx::query_scalar("SELECT count(*) FROM dead_letter_log WHERE sequence = 3")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(tries, 1);
}

#[tokio::test]
async fn a_consumer_stops_before_it_parks_too_much() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let comments = vec![(1, body("unknown")); MAX_PARKED as usize + 1];
    let mut all = batch(Checkpoint::ZERO, &comments);
    let aggregate = all.deliveries[0].aggregate();
    all.deliveries[0].event = Err(DecodeError::UnknownType { aggregate });
    let (most, last) = all.split_at(MAX_PARKED as usize);
    let end = most.to;
    committer.apply(most).await.unwrap();
    let refused = committer.apply(last).await.unwrap_err();
    assert!(chassis::error::chain(&refused).contains("more than 10000 events"), "{refused:?}");
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), end);
}

#[tokio::test]
async fn a_tail_is_imported_only_if_it_chains() {
    let source = fixture(Gate::Open).await;
    for (title, request) in [("one", Some(mark(3))), ("two", None), ("three", None)] {
        let command = (PostId::new(), title.to_owned());
        source.committer.submit(origin(request), command).await.unwrap();
    }
    let mut connection = source.committer.readers.acquire().await.unwrap();
    let rows = Sqlite::rows(&mut connection, Sequence(1), 10).await.unwrap();

    let copy = fixture(Gate::Comparing("import".into())).await;
    assert!(copy.committer.import(rows[1..].to_vec()).await.is_err());
    copy.committer.import(rows.clone()).await.unwrap();
    assert_eq!(titles(&copy.committer).await, titles(&source.committer).await);
    // What was imported answers retries as the original does.
    copy.committer.set_gate(Gate::Open);
    let command = (PostId::new(), "retried".to_owned());
    let again = copy.committer.submit(origin(Some(mark(3))), command).await.unwrap();
    assert_eq!(again.reply, "one");
}
