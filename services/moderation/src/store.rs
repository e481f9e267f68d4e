//! Where moderation keeps what it knows. All SQL stands in [`sqlite`]: [`Sqlite`] writes,
//! in the committer's transactions; [`Reader`] reads, on connections of its own.

mod sqlite;

use bus_schema::{CommentId, PostId, Site, Time};
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;

use crate::domain::Record;

pub use sqlite::{Reader, Sqlite};

/// The migrations of the service's own tables.
pub static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// A comment's case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The comment.
    pub comment_id: CommentId,
    /// The site that it belongs to.
    pub site: Site,
    /// The post that it belongs to.
    pub post_id: PostId,
    /// What it replies to.
    pub parent_id: Option<CommentId>,
    /// Who wrote it.
    pub author_id: String,
    /// Their name; may be empty.
    pub author_name: String,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Whether it waits for a moderator.
    pub open: bool,
    /// When it was written.
    pub create_time: Time,
    /// When the case was opened last; never if no rule has held a revision.
    pub open_time: Option<Time>,
    /// The newest revision.
    pub revision: Revision,
    /// The newest decision on it.
    pub decision: Option<Record>,
}

/// A revision of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The id of the event that made it.
    pub id: bus_schema::RevisionId,
    /// Its number, from 1.
    pub number: u32,
    /// Its text.
    pub body: String,
    /// When it was made.
    pub time: Time,
}

/// What a moderator needs to know besides the case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The title of the post; empty if it was not heard of.
    pub post_title: String,
    /// The text and the author's name of the comment that this one replies to.
    pub parent: Option<(String, String)>,
    /// Every revision, oldest first.
    pub revisions: Vec<Revision>,
    /// Every decision, oldest first.
    pub decisions: Vec<Record>,
    /// How many comments of the author were approved and rejected.
    pub author: (u32, u32),
}

/// Where a list of cases goes on: after this one, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Microseconds.
    open_time: i64,
    /// The comment's id.
    comment_id: uuid::Uuid,
}

impl Cursor {
    /// After this case.
    pub fn after(case: &Case) -> Self {
        let open_time = case.open_time.unwrap_or_default().micros();
        Self { open_time, comment_id: case.comment_id.uuid() }
    }
}
