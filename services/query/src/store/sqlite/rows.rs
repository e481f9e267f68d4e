use agora_proto::event::v1::Decision;
use bus_schema::{Author, CommentId, PostId, PostState, Time};
use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

use crate::domain::{Comment, Post};

/// The columns of a post.
macro_rules! post_columns {
    () => {
        "post_id, known, site, external_key, title, body, author_id, author_name, revision, \
         state, create_time, update_time, approve_time, comments"
    };
}

pub(super) use post_columns;

pub(super) fn post(row: &SqliteRow) -> Result<Post, sqlx::Error> {
    let state: i32 = row.try_get("state")?;
    let state = PostState::try_from(state).map_err(|error| invalid("state", error))?;
    let approve_time: i64 = row.try_get("approve_time")?;
    Ok(Post {
        id: PostId::from(uuid(row, "post_id")?),
        known: row.try_get("known")?,
        site: row.try_get("site")?,
        external_key: row.try_get("external_key")?,
        title: row.try_get("title")?,
        body: row.try_get("body")?,
        author: author(row)?,
        revision: row.try_get("revision")?,
        state,
        create_time: time(row, "create_time")?,
        update_time: time(row, "update_time")?,
        approve_time: Some(approve_time).filter(|time| *time != 0).map(Time::from_micros),
        comments: row.try_get("comments")?,
    })
}

/// A comment without its revisions.
pub(super) fn comment(row: &SqliteRow) -> Result<Comment, sqlx::Error> {
    let post_id = uuid(row, "post_id")?;
    let parent = uuid(row, "parent_key")?;
    Ok(Comment {
        id: CommentId::from(uuid(row, "comment_id")?),
        known: row.try_get("known")?,
        post_id: post_id.into(),
        parent_id: (parent != post_id).then(|| parent.into()),
        depth: row.try_get("depth")?,
        author: author(row)?,
        create_time: time(row, "create_time")?,
        deleted: row.try_get("deleted")?,
        revisions: Vec::new(),
        replies: row.try_get("replies")?,
    })
}

fn author(row: &SqliteRow) -> Result<Author, sqlx::Error> {
    Ok(Author { id: row.try_get("author_id")?, name: row.try_get("author_name")? })
}

pub(super) fn decision(row: &SqliteRow) -> Result<Decision, sqlx::Error> {
    let number: i32 = row.try_get("decision")?;
    Decision::try_from(number).map_err(|error| invalid("decision", error))
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Time, sqlx::Error> {
    Ok(Time::from_micros(row.try_get(column)?))
}

pub(super) fn uuid(row: &SqliteRow, column: &str) -> Result<Uuid, sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    Uuid::from_slice(bytes).map_err(|error| invalid(column, error))
}

pub(super) fn invalid(
    column: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() }
}
