mod tables;

use std::collections::HashMap;

use bus_schema::{Event, Source, Time};
use eventstore::{
    database::bulk::Statement,
    domain::{ConsumeError, Consumed, Forgetting},
};
use prost::Message as _;
use sqlx::{Pool, SqliteConnection, migrate::Migrator};

use super::{
    Store,
    consume::{Policies, Tables as _, titles, versions},
    forgetting,
    reader::Reader,
    write::{Changes, decided_on, newest_revision, sites, touched, verdict_number},
};
use crate::domain::{Command, Moderation, State};

use tables::Tables;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

static TITLES: Statement = Statement::new(
    "INSERT INTO post (post_id, title) VALUES ",
    "(?, ?)",
    " ON CONFLICT (post_id) DO UPDATE SET title = excluded.title",
);
static POLICIES: Statement = Statement::new(
    "INSERT OR FAIL INTO policy (site, version, record, set_by, time) VALUES ",
    "(?, ?, ?, ?, ?)",
    "",
);
static DECISIONS: Statement = Statement::new(
    "INSERT OR FAIL INTO decision \
     (revision_id, sequence, decision_id, comment_id, decider, time, record) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?)",
    "",
);
static NEW: Statement = Statement::new(
    "INSERT OR FAIL INTO comment (comment_id, site, post_id, parent_id, author_id, author_name, \
     create_time, revision, deleted, verdict, open, open_time) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "",
);
static SETTLE: Statement = Statement::new(
    "WITH s (comment_id, verdict, open, open_time) AS (VALUES ",
    "(?, ?, ?, ?)",
    ") UPDATE comment SET verdict = s.verdict, open = s.open, open_time = s.open_time \
     FROM s WHERE comment.comment_id = s.comment_id",
);
static AUTHORS: Statement = Statement::new(
    "INSERT INTO author (site, author_id, approved, rejected) VALUES ",
    "(?, ?, ?, ?)",
    " ON CONFLICT (site, author_id) DO UPDATE SET approved = approved + excluded.approved, \
     rejected = rejected + excluded.rejected",
);

/// The state of moderation in SQLite.
pub struct Sqlite {
    policies: Policies,
}

impl Sqlite {
    /// A store.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { policies: Policies::new() }
    }
}

impl Store for Sqlite {
    type Reader = Reader<sqlx::Sqlite>;

    fn reader(pool: Pool<sqlx::Sqlite>) -> Self::Reader {
        Reader { pool }
    }
}

impl eventstore::Store for Sqlite {
    type Domain = Moderation;
    type Backend = sqlx::Sqlite;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        commands: &[&Command],
    ) -> Result<State, sqlx::Error> {
        let mut tables = Tables(connection);
        let comments = tables.comments(&decided_on(commands)).await?;
        let policies = versions(tables.versions(&sites(commands, &comments)).await?)?;
        Ok(State { comments, policies })
    }

    async fn load_for(
        &self,
        connection: &mut SqliteConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let comments = Tables(connection).comments(&touched(events)).await?;
        Ok(State { comments, policies: HashMap::new() })
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        let changes = Changes::of(events, state.comments.values());
        POLICIES
            .execute(connection, &changes.policies, |query, (event, set)| {
                query
                    .bind(event.site.as_str())
                    .bind(set.version)
                    .bind(set.encode_to_vec())
                    .bind(event.actor.as_str())
                    .bind(event.time.micros())
            })
            .await?;
        DECISIONS
            .execute(connection, &changes.decisions, |query, (event, decided)| {
                query
                    .bind(decided.revision_id.as_ref())
                    .bind(event.sequence.as_i64())
                    .bind(event.id.as_bytes().as_slice())
                    .bind(event.aggregate.map(|id| id.as_bytes().to_vec()))
                    .bind(event.actor.as_str())
                    .bind(event.time.micros())
                    .bind(decided.encode_to_vec())
            })
            .await?;
        NEW.execute(connection, &changes.new, |query, (comment, new, settled)| {
            query
                .bind(comment.id.as_bytes().as_slice())
                .bind(comment.site.as_str())
                .bind(comment.post_id.as_bytes().as_slice())
                .bind(new.parent_id.as_ref().map(|id| id.as_bytes().as_slice()))
                .bind(comment.author_id.as_str())
                .bind(new.author_name.as_str())
                .bind(new.create_time.micros())
                .bind(newest_revision(comment))
                .bind(comment.deleted)
                .bind(settled.verdict.map(verdict_number))
                .bind(settled.open)
                .bind(settled.open_time.map(Time::micros))
        })
        .await?;
        SETTLE
            .execute(connection, &changes.settled, |query, (comment, settled)| {
                query
                    .bind(comment.id.as_bytes().as_slice())
                    .bind(settled.verdict.map(verdict_number))
                    .bind(settled.open)
                    .bind(settled.open_time.map(Time::micros))
            })
            .await?;
        AUTHORS
            .execute(connection, &changes.authors, |query, (site, author, counts)| {
                query.bind(site.as_str()).bind(*author).bind(counts.0).bind(counts.1)
            })
            .await
    }

    async fn consume(
        &self,
        connection: &mut SqliteConnection,
        source: Source,
        events: &[Event],
    ) -> Result<Consumed<State>, ConsumeError> {
        match source {
            Source::Post => {
                TITLES
                    .execute(connection, &titles(events)?, |query, (id, title)| {
                        query.bind(id.as_bytes().as_slice()).bind(*title)
                    })
                    .await?;
                Ok(Consumed::default())
            }
            Source::Comment => self.policies.consume(&mut Tables(connection), events).await,
            Source::Moderation => {
                Err(ConsumeError::Event("an event of the moderation service itself".into()))
            }
        }
    }

    fn forgetting(source: Source) -> Forgetting {
        forgetting(source)
    }
}
