//! Where comments are kept. All SQL stands in [`sqlite`]: [`Sqlite`] writes, in the
//! committer's transactions; [`Reader`] reads, on connections of its own.

mod sqlite;

use agora_proto::comment::v1::Decision;
use bus_schema::{CommentId, Time};
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;

use crate::domain::Comment;

pub use sqlite::{Reader, Sqlite};

/// The migrations of the service's own tables.
pub static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Who reads: decides which comments they see, and which revision of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Sees what is visible to everybody, and all that they wrote themselves.
    Reader {
        /// Their id, if they gave a token.
        id: Option<String>,
    },
    /// Sees everything.
    Moderator,
}

/// A comment as a viewer sees it: with the newest revision that they may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The comment; its `revision` and `update_time` are those of what is seen.
    pub comment: Comment,
    /// The text of that revision; empty if the comment is deleted.
    pub body: String,
    /// The newest decision on that revision.
    pub decision: Decision,
}

/// How many bytes of texts and names a page of comments has at most, the first comment
/// aside: an answer holds at most [`chassis::host::MAX_RESPONSE_BYTES`].
pub const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;

/// A part of a list of comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Oldest first.
    pub comments: Vec<Seen>,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// Where a list of comments goes on: after this one, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Microseconds.
    create_time: i64,
    /// The comment's id.
    comment_id: uuid::Uuid,
}

impl Cursor {
    /// After this comment.
    pub const fn after(create_time: Time, comment_id: CommentId) -> Self {
        Self { create_time: create_time.micros(), comment_id: comment_id.uuid() }
    }
}
