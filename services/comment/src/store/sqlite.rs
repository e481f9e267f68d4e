mod reader;

use std::collections::HashMap;

use agora_proto::event::v1 as event;
use bus_schema::{CommentId, Event, EventId, Kind, PostId, Site, Source, Time};
use chassis::{
    bulk::{Statement, distinct},
    content,
    owner::{ConsumeError, Consumed, Store},
};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use crate::{
    consumer::Said,
    domain::{Author, Command, Comment, Comments, Post, PostState, State, Verdict},
};

pub use reader::Reader;

static LOAD: Statement = Statement::new(
    "SELECT c.*, (\
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
    type Domain = Comments;
    type Backend = sqlx::Sqlite;

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        commands: &[&Command],
    ) -> Result<State, sqlx::Error> {
        let comments = commands.iter().filter_map(|command| match command {
            Command::Create(create) => create.parent_id,
            Command::Change { comment_id, .. } => Some(*comment_id),
        });
        let posts = commands.iter().filter_map(|command| match command {
            Command::Create(create) => Some(create.post_id),
            Command::Change { .. } => None,
        });
        Ok(State {
            comments: load_comments(connection, &distinct(comments)).await?,
            posts: load_posts(connection, &distinct(posts)).await?,
        })
    }

    async fn load_for(
        &self,
        connection: &mut SqliteConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let comments = events.iter().filter_map(|event| event.aggregate).map(CommentId::from);
        let comments = load_comments(connection, &distinct(comments)).await?;
        Ok(State { comments, posts: HashMap::new() })
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        let ids = distinct(events.iter().filter_map(|event| event.aggregate));
        let comments: Vec<&Comment> =
            ids.into_iter().filter_map(|id| state.comments.get(&id.into())).collect();
        WRITE
            .execute(connection, &comments, |query, comment| {
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

        let revisions: Vec<_> =
            events.iter().map(revision).filter_map(Result::transpose).collect::<Result<_, _>>()?;
        WRITE_REVISIONS
            .execute(connection, &revisions, |query, revision| {
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
                    .bind(post_state_number(post.state))
            })
            .await?;
        let decisions: Vec<_> = said.decisions.into_iter().collect();
        WRITE_DECISIONS
            .execute(connection, &decisions, |query, (revision, decision)| {
                query.bind(revision.as_bytes().as_slice()).bind(i64::from(i32::from(*decision)))
            })
            .await?;
        // What others say makes no event of comments.
        Ok(Consumed::default())
    }
}

/// A revision that an event makes.
struct Revision<'e> {
    comment_id: CommentId,
    number: u32,
    id: EventId,
    body: &'e str,
    time: Time,
}

fn revision(event: &Event) -> Result<Option<Revision<'_>>, sqlx::Error> {
    let (number, body): (u32, Option<&event::Content>) = match &event.kind {
        Kind::CommentCreated(created) => (1, created.body.as_ref()),
        Kind::CommentUpdated(updated) => (updated.revision, updated.body.as_ref()),
        _ => return Ok(None),
    };
    let Some(comment_id) = event.aggregate.map(CommentId::from) else { return Ok(None) };
    let body = content::open(body).map_err(|error| sqlx::Error::Encode(error.into()))?;
    Ok(Some(Revision { comment_id, number, id: event.id, body, time: event.time }))
}

async fn load_comments(
    connection: &mut SqliteConnection,
    ids: &[CommentId],
) -> Result<HashMap<CommentId, Comment>, sqlx::Error> {
    let rows =
        LOAD.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    rows.iter().map(|row| comment(row).map(|comment| (comment.id, comment))).collect()
}

async fn load_posts(
    connection: &mut SqliteConnection,
    ids: &[PostId],
) -> Result<HashMap<PostId, Post>, sqlx::Error> {
    let rows =
        LOAD_POSTS.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    rows.iter()
        .map(|row| {
            let id = PostId::from_slice(row.try_get("post_id")?);
            let id = id.map_err(|error| invalid("post_id", error))?;
            let state = match row.try_get("state")? {
                1 => PostState::Open,
                2 => PostState::Closed,
                3 => PostState::Deleted,
                other => return Err(invalid("state", format!("{other} is no state"))),
            };
            Ok((id, Post { site: site(row)?, state }))
        })
        .collect()
}

fn comment(row: &SqliteRow) -> Result<Comment, sqlx::Error> {
    let parent_id: Option<&[u8]> = row.try_get("parent_id")?;
    let parent_id = parent_id.map(CommentId::from_slice).transpose();
    let id = |column| {
        let bytes: &[u8] = row.try_get(column)?;
        uuid::Uuid::from_slice(bytes).map_err(|error| invalid(column, error))
    };
    let verdict = match row.try_get("verdict")? {
        None | Some(1) => None,
        Some(2) => Some(Verdict::Approved),
        Some(3) => Some(Verdict::Rejected),
        Some(other) => return Err(invalid("verdict", format!("{other} is no decision"))),
    };
    Ok(Comment {
        id: id("comment_id")?.into(),
        site: site(row)?,
        post_id: id("post_id")?.into(),
        parent_id: parent_id.map_err(|error| invalid("parent_id", error))?,
        depth: row.try_get("depth")?,
        author: Author { id: row.try_get("author_id")?, name: row.try_get("author_name")? },
        revision: row.try_get("revision")?,
        deleted: row.try_get("deleted")?,
        verdict,
        create_time: Time::from_micros(row.try_get("create_time")?),
        update_time: Time::from_micros(row.try_get("update_time")?),
    })
}

const fn post_state_number(state: PostState) -> i64 {
    match state {
        PostState::Open => 1,
        PostState::Closed => 2,
        PostState::Deleted => 3,
    }
}

fn site(row: &SqliteRow) -> Result<Site, sqlx::Error> {
    let text: &str = row.try_get("site")?;
    text.parse().map_err(|error| invalid("site", error))
}

fn invalid(
    column: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() }
}
