//! What rows hold, in every database.

use bus_schema::{Author, PostId, PostState, Time};
use eventstore::database::rows::{invalid, parse, unsigned};
use sqlx::FromRow;
use uuid::Uuid;

use crate::domain::{self, Text};

/// A post with the text of its newest revision.
#[derive(FromRow)]
pub(super) struct Post {
    post_id: Uuid,
    site: String,
    external_key: Option<String>,
    author_id: String,
    author_name: String,
    title: String,
    body: String,
    state: i32,
    revision: i32,
    create_time: i64,
    update_time: i64,
}

/// Who has a key.
#[derive(FromRow)]
pub(super) struct Key {
    pub(super) site: String,
    pub(super) external_key: String,
    pub(super) post_id: Uuid,
}

/// The text of a revision.
#[derive(FromRow)]
pub(super) struct Revision {
    post_id: Uuid,
    revision: i32,
    title: String,
    body: String,
}

impl TryFrom<Post> for domain::Post {
    type Error = sqlx::Error;

    fn try_from(row: Post) -> Result<Self, sqlx::Error> {
        let state = PostState::try_from(row.state).map_err(|error| invalid("state", error))?;
        let text = match state {
            PostState::Deleted => Text::default(),
            PostState::Open | PostState::Closed => Text { title: row.title, body: row.body },
        };
        Ok(Self {
            id: row.post_id.into(),
            site: parse("site", &row.site)?,
            external_key: row.external_key,
            author: Author { id: row.author_id, name: row.author_name },
            text,
            revision: unsigned("revision", row.revision)?,
            state,
            create_time: Time::from_micros(row.create_time),
            update_time: Time::from_micros(row.update_time),
        })
    }
}

impl TryFrom<Revision> for ((PostId, u32), Text) {
    type Error = sqlx::Error;

    fn try_from(row: Revision) -> Result<Self, sqlx::Error> {
        let key = (row.post_id.into(), unsigned("revision", row.revision)?);
        Ok((key, Text { title: row.title, body: row.body }))
    }
}
