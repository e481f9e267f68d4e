mod tables;

use std::collections::HashMap;

use bus_schema::{Event, Source, Time};
use eventstore::{
    database::{bulk::column, rows::signed},
    domain::{ConsumeError, Consumed, Forgetting},
};
use prost::Message as _;
use sqlx::{PgConnection, Pool, migrate::Migrator};
use uuid::Uuid;

use super::{
    Store,
    consume::{Policies, Tables as _, titles, versions},
    forgetting,
    reader::Reader,
    write::{Changes, decided_on, newest_revision, sites, touched, verdict_number},
};
use crate::domain::{Command, Moderation, State};

use tables::Tables;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The state of moderation in PostgreSQL.
pub struct Postgres {
    policies: Policies,
}

impl Postgres {
    /// A store.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { policies: Policies::new() }
    }
}

impl Store for Postgres {
    type Reader = Reader<sqlx::Postgres>;

    fn reader(pool: Pool<sqlx::Postgres>) -> Self::Reader {
        Reader { pool }
    }
}

impl eventstore::Store for Postgres {
    type Domain = Moderation;
    type Backend = sqlx::Postgres;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn load(
        &self,
        connection: &mut PgConnection,
        commands: &[&Command],
    ) -> Result<State, sqlx::Error> {
        let mut tables = Tables(connection);
        let comments = tables.comments(&decided_on(commands)).await?;
        let policies = versions(tables.versions(&sites(commands, &comments)).await?)?;
        Ok(State { comments, policies })
    }

    async fn load_for(
        &self,
        connection: &mut PgConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let comments = Tables(connection).comments(&touched(events)).await?;
        Ok(State { comments, policies: HashMap::new() })
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        let changes = Changes::of(events, state.comments.values());
        set_policies(connection, &changes).await?;
        add_decisions(connection, &changes).await?;
        add_comments(connection, &changes).await?;
        settle(connection, &changes).await?;
        count(connection, &changes).await
    }

    async fn consume(
        &self,
        connection: &mut PgConnection,
        source: Source,
        events: &[Event],
    ) -> Result<Consumed<State>, ConsumeError> {
        match source {
            Source::Post => {
                let titles = titles(events)?;
                sqlx::query(
                    "INSERT INTO post (post_id, title) SELECT * FROM UNNEST($1::uuid[], $2::text[]) \
                     ON CONFLICT (post_id) DO UPDATE SET title = excluded.title",
                )
                .bind(column(&titles, |(id, _)| id.uuid()))
                .bind(column(&titles, |(_, title)| *title))
                .execute(connection)
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

async fn set_policies(
    connection: &mut PgConnection,
    Changes { policies, .. }: &Changes<'_>,
) -> Result<(), sqlx::Error> {
    if policies.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO policy (site, version, record, set_by, time) SELECT * FROM \
         UNNEST($1::text[], $2::int[], $3::bytea[], $4::text[], $5::bigint[])",
    )
    .bind(column(policies, |(event, _)| event.site.as_str()))
    .bind(column(policies, |(_, set)| signed(set.version)))
    .bind(column(policies, |(_, set)| set.encode_to_vec()))
    .bind(column(policies, |(event, _)| event.actor.as_str()))
    .bind(column(policies, |(event, _)| event.time.micros()))
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_decisions(
    connection: &mut PgConnection,
    Changes { decisions, .. }: &Changes<'_>,
) -> Result<(), sqlx::Error> {
    if decisions.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO decision \
         (revision_id, sequence, decision_id, comment_id, decider, time, record) SELECT * FROM \
         UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], \
         $7::bytea[])",
    )
    .bind(column(decisions, |(_, decided)| Uuid::from_slice(&decided.revision_id).ok()))
    .bind(column(decisions, |(event, _)| event.sequence.as_i64()))
    .bind(column(decisions, |(event, _)| event.id.uuid()))
    .bind(column(decisions, |(event, _)| event.aggregate))
    .bind(column(decisions, |(event, _)| event.actor.as_str()))
    .bind(column(decisions, |(event, _)| event.time.micros()))
    .bind(column(decisions, |(_, decided)| decided.encode_to_vec()))
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_comments(
    connection: &mut PgConnection,
    Changes { new, .. }: &Changes<'_>,
) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO comment (comment_id, site, post_id, parent_id, author_id, author_name, \
         create_time, revision, deleted, verdict, open, open_time) SELECT * FROM UNNEST(\
             $1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], \
             $7::bigint[], $8::int[], $9::bool[], $10::int[], $11::bool[], $12::bigint[]\
         )",
    )
    .bind(column(new, |(comment, ..)| comment.id.uuid()))
    .bind(column(new, |(comment, ..)| comment.site.as_str()))
    .bind(column(new, |(comment, ..)| comment.post_id.uuid()))
    .bind(column(new, |(_, new, _)| new.parent_id.map(|id| id.uuid())))
    .bind(column(new, |(comment, ..)| comment.author_id.as_str()))
    .bind(column(new, |(_, new, _)| new.author_name.as_str()))
    .bind(column(new, |(_, new, _)| new.create_time.micros()))
    .bind(column(new, |(comment, ..)| signed(newest_revision(comment))))
    .bind(column(new, |(comment, ..)| comment.deleted))
    .bind(column(new, |(.., settled)| settled.verdict.map(verdict_number)))
    .bind(column(new, |(.., settled)| settled.open))
    .bind(column(new, |(.., settled)| settled.open_time.map(Time::micros)))
    .execute(connection)
    .await?;
    Ok(())
}

async fn settle(
    connection: &mut PgConnection,
    Changes { settled, .. }: &Changes<'_>,
) -> Result<(), sqlx::Error> {
    if settled.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE comment SET verdict = s.verdict, open = s.open, open_time = s.open_time \
         FROM UNNEST($1::uuid[], $2::int[], $3::bool[], $4::bigint[]) \
         AS s (comment_id, verdict, open, open_time) WHERE comment.comment_id = s.comment_id",
    )
    .bind(column(settled, |(comment, _)| comment.id.uuid()))
    .bind(column(settled, |(_, settled)| settled.verdict.map(verdict_number)))
    .bind(column(settled, |(_, settled)| settled.open))
    .bind(column(settled, |(_, settled)| settled.open_time.map(Time::micros)))
    .execute(connection)
    .await?;
    Ok(())
}

async fn count(
    connection: &mut PgConnection,
    Changes { authors, .. }: &Changes<'_>,
) -> Result<(), sqlx::Error> {
    if authors.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO author (site, author_id, approved, rejected) SELECT * FROM \
         UNNEST($1::text[], $2::text[], $3::int[], $4::int[]) \
         ON CONFLICT (site, author_id) DO UPDATE SET \
         approved = author.approved + excluded.approved, \
         rejected = author.rejected + excluded.rejected",
    )
    .bind(column(authors, |(site, ..)| site.as_str()))
    .bind(column(authors, |(_, author, _)| *author))
    .bind(column(authors, |(.., counts)| counts.0))
    .bind(column(authors, |(.., counts)| counts.1))
    .execute(connection)
    .await?;
    Ok(())
}
