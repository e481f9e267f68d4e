//! Where moderation keeps what it knows. All SQL stands in [`Sqlite`] and [`Postgres`]:
//! they write, in the committer's transactions; their readers read, on connections of
//! their own. What they have in common stands in `consume` and `write`.

mod consume;
mod postgres;
mod reader;
mod rows;
mod sqlite;
mod write;

use std::future::Future;

use bus_schema::{CommentId, PostId, RevisionId, Site, Source, Time};
use eventstore::domain::Forgetting;
use serde::{Deserialize, Serialize};
use sqlx::Pool;

use crate::domain::{Moderation, Record, SetPolicy};

pub use postgres::Postgres;
pub use sqlite::Sqlite;

/// Moderation on one kind of database.
pub trait Store: eventstore::Store<Domain = Moderation> {
    /// What reads it.
    type Reader: Read;

    /// A reader on these connections.
    fn reader(pool: Pool<Self::Backend>) -> Self::Reader;
}

/// Reads cases and policies, on connections of its own.
pub trait Read: Clone + Send + Sync + 'static {
    /// A version of a site's policy, or the newest. The default policy is version 0.
    fn policy(
        &self,
        site: &Site,
        version: Option<u32>,
    ) -> impl Future<Output = Result<Option<SetPolicy>, sqlx::Error>> + Send;

    /// The case of a site's comment.
    fn case(
        &self,
        site: &Site,
        id: CommentId,
    ) -> impl Future<Output = Result<Option<Case>, sqlx::Error>> + Send;

    /// A site's cases that were open once, open or closed now, oldest first, after the
    /// cursor.
    fn cases(
        &self,
        site: &Site,
        open: bool,
        after: Option<Cursor>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Case>, sqlx::Error>> + Send;

    /// How many cases wait for a moderator, on every site, and since when the oldest of them
    /// does.
    fn waiting(&self) -> impl Future<Output = Result<(u64, Option<Time>), sqlx::Error>> + Send;

    /// One revision of a comment.
    fn revision(
        &self,
        id: CommentId,
        revision_id: RevisionId,
    ) -> impl Future<Output = Result<Option<Revision>, sqlx::Error>> + Send;

    /// What a moderator needs to know besides the case.
    fn context(&self, case: &Case) -> impl Future<Output = Result<Context, sqlx::Error>> + Send;
}

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
    /// Before every case.
    const START: Self = Self { open_time: i64::MIN, comment_id: uuid::Uuid::nil() };

    /// After this case.
    pub fn after(case: &Case) -> Self {
        let open_time = case.open_time.unwrap_or_default().micros();
        Self { open_time, comment_id: case.comment_id.uuid() }
    }
}

/// What forgets the state that the events of a source have left.
const fn forgetting(source: Source) -> Forgetting {
    match source {
        Source::Post => Forgetting { deletes: &["DELETE FROM post"], again: &[] },
        Source::Comment => Forgetting {
            deletes: &[
                "DELETE FROM revision",
                "DELETE FROM comment",
                "DELETE FROM author",
                "DELETE FROM sighting",
            ],
            again: &[],
        },
        // What follows from decisions stands beside what the comment service said.
        Source::Moderation => Forgetting {
            deletes: &["DELETE FROM decision", "DELETE FROM policy"],
            again: &[Source::Comment],
        },
    }
}
