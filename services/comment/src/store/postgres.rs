use std::collections::HashMap;

use bus_schema::{CommentId, Event, PostId, Source};
use eventstore::{
    database::{bulk::column, rows::signed},
    domain::{ConsumeError, Consumed, Forgetting},
};
use sqlx::{PgConnection, Pool, migrate::Migrator};

use super::{
    Store, forgetting, left, named_comments, named_posts, reader::Reader, revisions, rows, touched,
};
use crate::{
    consumer::Said,
    domain::{Command, Comment, Comments, Post, State},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The state of comments in PostgreSQL.
pub struct Postgres;

impl Store for Postgres {
    type Reader = Reader<sqlx::Postgres>;

    fn reader(pool: Pool<sqlx::Postgres>) -> Self::Reader {
        Reader { pool }
    }
}

impl eventstore::Store for Postgres {
    type Domain = Comments;
    type Backend = sqlx::Postgres;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn load(
        &self,
        connection: &mut PgConnection,
        commands: &[&Command],
    ) -> Result<State, sqlx::Error> {
        Ok(State {
            comments: load_comments(connection, &named_comments(commands)).await?,
            posts: load_posts(connection, &named_posts(commands)).await?,
        })
    }

    async fn load_for(
        &self,
        connection: &mut PgConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let comments = load_comments(connection, &touched(events)).await?;
        Ok(State { comments, posts: HashMap::new() })
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        let comments = left(state, events);
        let revisions = revisions(events)?;
        sqlx::query(
            "WITH made AS (\
                 INSERT INTO revision (comment_id, revision, revision_id, body, time) \
                 SELECT * FROM \
                 UNNEST($12::uuid[], $13::int[], $14::uuid[], $15::text[], $16::bigint[])\
             ) INSERT INTO comment (comment_id, site, post_id, parent_id, depth, author_id, \
             author_name, revision, deleted, create_time, update_time) SELECT * FROM UNNEST(\
                 $1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::int[], $6::text[], \
                 $7::text[], $8::int[], $9::bool[], $10::bigint[], $11::bigint[]\
             ) ON CONFLICT (comment_id) DO UPDATE SET revision = excluded.revision, \
             deleted = excluded.deleted, update_time = excluded.update_time",
        )
        .bind(column(&comments, |comment| comment.id.uuid()))
        .bind(column(&comments, |comment| comment.site.as_str()))
        .bind(column(&comments, |comment| comment.post_id.uuid()))
        .bind(column(&comments, |comment| comment.parent_id.map(|id| id.uuid())))
        .bind(column(&comments, |comment| signed(comment.depth)))
        .bind(column(&comments, |comment| comment.author.id.as_str()))
        .bind(column(&comments, |comment| comment.author.name.as_str()))
        .bind(column(&comments, |comment| signed(comment.revision)))
        .bind(column(&comments, |comment| comment.deleted))
        .bind(column(&comments, |comment| comment.create_time.micros()))
        .bind(column(&comments, |comment| comment.update_time.micros()))
        .bind(column(&revisions, |revision| revision.comment_id.uuid()))
        .bind(column(&revisions, |revision| signed(revision.number)))
        .bind(column(&revisions, |revision| revision.id.uuid()))
        .bind(column(&revisions, |revision| revision.body))
        .bind(column(&revisions, |revision| revision.time.micros()))
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn consume(
        &self,
        connection: &mut PgConnection,
        _source: Source,
        events: &[Event],
    ) -> Result<Consumed<State>, ConsumeError> {
        let said = Said::fold(events).map_err(ConsumeError::Event)?;
        let posts: Vec<_> = said.posts.into_iter().collect();
        if !posts.is_empty() {
            sqlx::query(
                "INSERT INTO post (post_id, site, state) \
                 SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::int[]) \
                 ON CONFLICT (post_id) DO UPDATE SET state = excluded.state",
            )
            .bind(column(&posts, |(id, _)| id.uuid()))
            .bind(column(&posts, |(_, post)| post.site.as_str()))
            .bind(column(&posts, |(_, post)| post.state.number()))
            .execute(&mut *connection)
            .await?;
        }
        let decisions: Vec<_> = said.decisions.into_iter().collect();
        if !decisions.is_empty() {
            sqlx::query(
                "INSERT INTO decision (revision_id, decision) \
                 SELECT * FROM UNNEST($1::uuid[], $2::int[]) \
                 ON CONFLICT (revision_id) DO UPDATE SET decision = excluded.decision",
            )
            .bind(column(&decisions, |(revision, _)| revision.uuid()))
            .bind(column(&decisions, |(_, decision)| i32::from(*decision)))
            .execute(connection)
            .await?;
        }
        // What others say makes no event of comments.
        Ok(Consumed::default())
    }

    fn forgetting(source: Source) -> Forgetting {
        forgetting(source)
    }
}

async fn load_comments(
    connection: &mut PgConnection,
    ids: &[CommentId],
) -> Result<HashMap<CommentId, Comment>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<rows::Comment> = sqlx::query_as(
        "SELECT c.comment_id, c.site, c.post_id, c.parent_id, c.depth, c.author_id, \
         c.author_name, c.revision, c.deleted, c.create_time, c.update_time, (\
             SELECT d.decision FROM revision r JOIN decision d USING (revision_id) \
             WHERE r.comment_id = c.comment_id AND d.decision IN (2, 3) \
             ORDER BY r.revision DESC LIMIT 1\
         ) AS verdict FROM comment c WHERE c.comment_id = ANY($1)",
    )
    .bind(column(ids, |id| id.uuid()))
    .fetch_all(connection)
    .await?;
    let comments = found.into_iter().map(Comment::try_from);
    comments.map(|comment| comment.map(|comment| (comment.id, comment))).collect()
}

async fn load_posts(
    connection: &mut PgConnection,
    ids: &[PostId],
) -> Result<HashMap<PostId, Post>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<rows::Post> =
        sqlx::query_as("SELECT post_id, site, state FROM post WHERE post_id = ANY($1)")
            .bind(column(ids, |id| id.uuid()))
            .fetch_all(connection)
            .await?;
    found.into_iter().map(TryInto::try_into).collect()
}
