#![allow(clippy::unwrap_used)]

mod commands;
mod consume;
mod import;
mod rebuild;
mod repair;
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
    let mut connection = committer.inner.readers.acquire().await.unwrap();
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

/// The numbers of a source's letters.
async fn parked(committer: &Committer<Table>) -> Vec<u64> {
    let mut connection = committer.inner.readers.acquire().await.unwrap();
    let letters = Sqlite::letters(&mut connection, Source::Comment, Sequence::ZERO, 100).await;
    letters.unwrap().into_iter().map(|letter| letter.sequence.0).collect()
}
