use std::collections::HashMap;

use bus_schema::{CommentId, Event, PostId, Source};
use eventstore::{
    database::bulk::Statement,
    domain::{ConsumeError, Consumed, Forgetting},
};
use sqlx::{FromRow as _, Pool, SqliteConnection, migrate::Migrator};

use super::{
    Store, forgetting, left, named_comments, named_posts, reader::Reader, revisions, rows, touched,
};
use crate::{
    consumer::Said,
    domain::{Command, Comment, Comments, Post, State},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

static LOAD: Statement = Statement::new(
    "SELECT c.comment_id, c.site, c.post_id, c.parent_id, c.depth, c.author_id, \
     c.author_name, c.revision, c.deleted, c.create_time, c.update_time, (\
         SELECT d.decision FROM revision r JOIN decision d USING (revision_id) \
         WHERE r.comment_id = c.comment_id AND d.decision IN (2, 3) \
         ORDER BY r.revision DESC LIMIT 1\
     ) AS verdict FROM comment c WHERE c.comment_id IN (",
    "?",
    ")",
);
static LOAD_POSTS: Statement =
    Statement::new("SELECT post_id, site, state FROM post WHERE post_id IN (", "?", ")");
static WRITE: Statement = Statement::new(
    "INSERT INTO comment (comment_id, site, post_id, parent_id, depth, author_id, author_name, \
     revision, deleted, create_time, update_time) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (comment_id) DO UPDATE SET revision = excluded.revision, \
     deleted = excluded.deleted, update_time = excluded.update_time",
);
static WRITE_REVISIONS: Statement = Statement::new(
    "INSERT OR FAIL INTO revision (comment_id, revision, revision_id, body, time) VALUES ",
    "(?, ?, ?, ?, ?)",
    "",
);
static WRITE_POSTS: Statement = Statement::new(
    "INSERT INTO post (post_id, site, state) VALUES ",
    "(?, ?, ?)",
    " ON CONFLICT (post_id) DO UPDATE SET state = excluded.state",
);
static WRITE_DECISIONS: Statement = Statement::new(
    "INSERT INTO decision (revision_id, decision) VALUES ",
    "(?, ?)",
    " ON CONFLICT (revision_id) DO UPDATE SET decision = excluded.decision",
);

/// The state of comments in SQLite.
pub struct Sqlite;

impl Store for Sqlite {
    type Reader = Reader<sqlx::Sqlite>;

    fn reader(pool: Pool<sqlx::Sqlite>) -> Self::Reader {
        Reader { pool }
    }
}

impl eventstore::Store for Sqlite {
    type Domain = Comments;
    type Backend = sqlx::Sqlite;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        commands: &[&Command],
    ) -> Result<State, sqlx::Error> {
        Ok(State {
            comments: load_comments(connection, &named_comments(commands)).await?,
            posts: load_posts(connection, &named_posts(commands)).await?,
        })
    }

    async fn load_for(
        &self,
        connection: &mut SqliteConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let comments = load_comments(connection, &touched(events)).await?;
        Ok(State { comments, posts: HashMap::new() })
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        WRITE
            .execute(connection, &left(state, events), |query, comment| {
                query
                    .bind(comment.id.as_bytes().as_slice())
                    .bind(comment.site.as_str())
                    .bind(comment.post_id.as_bytes().as_slice())
                    .bind(comment.parent_id.as_ref().map(|id| id.as_bytes().as_slice()))
                    .bind(comment.depth)
                    .bind(comment.author.id.as_str())
                    .bind(comment.author.name.as_str())
                    .bind(comment.revision)
                    .bind(comment.deleted)
                    .bind(comment.create_time.micros())
                    .bind(comment.update_time.micros())
            })
            .await?;
        WRITE_REVISIONS
            .execute(connection, &revisions(events)?, |query, revision| {
                query
                    .bind(revision.comment_id.as_bytes().as_slice())
                    .bind(revision.number)
                    .bind(revision.id.as_bytes().as_slice())
                    .bind(revision.body)
                    .bind(revision.time.micros())
            })
            .await
    }

    async fn consume(
        &self,
        connection: &mut SqliteConnection,
        _source: Source,
        events: &[Event],
    ) -> Result<Consumed<State>, ConsumeError> {
        let said = Said::fold(events).map_err(ConsumeError::Event)?;
        let posts: Vec<_> = said.posts.into_iter().collect();
        WRITE_POSTS
            .execute(connection, &posts, |query, (id, post)| {
                query
                    .bind(id.as_bytes().as_slice())
                    .bind(post.site.as_str())
                    .bind(post.state.number())
            })
            .await?;
        let decisions: Vec<_> = said.decisions.into_iter().collect();
        WRITE_DECISIONS
            .execute(connection, &decisions, |query, (revision, decision)| {
                query.bind(revision.as_bytes().as_slice()).bind(i32::from(*decision))
            })
            .await?;
        // What others say makes no event of comments.
        Ok(Consumed::default())
    }

    fn forgetting(source: Source) -> Forgetting {
        forgetting(source)
    }
}

async fn load_comments(
    connection: &mut SqliteConnection,
    ids: &[CommentId],
) -> Result<HashMap<CommentId, Comment>, sqlx::Error> {
    let found =
        LOAD.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    let comments = found.iter().map(|row| Comment::try_from(rows::Comment::from_row(row)?));
    comments.map(|comment| comment.map(|comment| (comment.id, comment))).collect()
}

async fn load_posts(
    connection: &mut SqliteConnection,
    ids: &[PostId],
) -> Result<HashMap<PostId, Post>, sqlx::Error> {
    let found =
        LOAD_POSTS.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    found.iter().map(|row| rows::Post::from_row(row)?.try_into()).collect()
}
