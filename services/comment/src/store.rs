//! Where comments are kept. All SQL stands in [`Sqlite`] and [`Postgres`]: they write, in
//! the committer's transactions; the reader reads, on connections of its own.

mod postgres;
mod reader;
mod rows;
mod sqlite;

use std::future::Future;

use agora_proto::comment::v1::Decision;
use bus_schema::{CommentId, Event, EventId, PostId, Site, Source, Time};
use chassis::content;
use eventstore::{database::bulk::distinct, domain::Forgetting};
use futures::{Stream, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use sqlx::Pool;

use crate::domain::{Command, Comment, Comments, State};

pub use postgres::Postgres;
pub use sqlite::Sqlite;

/// Comments on one kind of database.
pub trait Store: eventstore::Store<Domain = Comments> {
    /// What reads them.
    type Reader: Read;

    /// A reader on these connections.
    fn reader(pool: Pool<Self::Backend>) -> Self::Reader;
}

/// Reads comments, on connections of its own.
pub trait Read: Clone + Send + Sync + 'static {
    /// One comment of a site, if the viewer may see it.
    fn comment(
        &self,
        site: &Site,
        id: CommentId,
        viewer: &Viewer,
    ) -> impl Future<Output = Result<Option<Seen>, sqlx::Error>> + Send;

    /// The comments of a post that the viewer may see, oldest first, after the cursor: at
    /// most `size` and [`MAX_PAGE_BYTES`].
    fn comments(
        &self,
        site: &Site,
        post_id: PostId,
        viewer: &Viewer,
        after: Option<Cursor>,
        size: usize,
    ) -> impl Future<Output = Result<Page, sqlx::Error>> + Send;

    /// Whether a site's post was heard of.
    fn knows_post(
        &self,
        site: &Site,
        post_id: PostId,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;
}

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

impl Viewer {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Reader { id } => id.as_deref(),
            Self::Moderator => None,
        }
    }
}

impl Cursor {
    /// Before every comment.
    const START: Self = Self { create_time: i64::MIN, comment_id: uuid::Uuid::nil() };

    /// After this comment.
    pub const fn after(create_time: Time, comment_id: CommentId) -> Self {
        Self { create_time: create_time.micros(), comment_id: comment_id.uuid() }
    }
}

/// As much of these comments as a page holds. They are at least one more than `size`, if
/// there are as many.
async fn page(
    mut rows: impl Stream<Item = Result<rows::Seen, sqlx::Error>> + Unpin,
    size: usize,
) -> Result<Page, sqlx::Error> {
    let (mut comments, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let seen = Seen::try_from(row)?;
        bytes += size_of_texts(&seen);
        if comments.len() == size || (bytes > MAX_PAGE_BYTES && !comments.is_empty()) {
            return Ok(Page { comments, is_last: false });
        }
        comments.push(seen);
    }
    Ok(Page { comments, is_last: true })
}

fn size_of_texts(seen: &Seen) -> usize {
    let author = &seen.comment.author;
    seen.body.len() + author.id.len() + author.name.len()
}

/// The comments that commands name.
fn named_comments(commands: &[&Command]) -> Vec<CommentId> {
    distinct(commands.iter().filter_map(|command| match command {
        Command::Create(create) => create.parent_id,
        Command::Change { comment_id, .. } => Some(*comment_id),
    }))
}

/// The posts that commands name.
fn named_posts(commands: &[&Command]) -> Vec<PostId> {
    distinct(commands.iter().filter_map(|command| match command {
        Command::Create(create) => Some(create.post_id),
        Command::Change { .. } => None,
    }))
}

/// The comments that events happen to.
fn touched(events: &[Event]) -> Vec<CommentId> {
    distinct(events.iter().filter_map(|event| event.aggregate).map(CommentId::from))
}

/// The comments that events happened to, as they are now.
fn left<'s>(state: &'s State, events: &[Event]) -> Vec<&'s Comment> {
    touched(events).iter().filter_map(|id| state.comments.get(id)).collect()
}

/// A revision that an event makes.
struct Revision<'e> {
    comment_id: CommentId,
    number: u32,
    id: EventId,
    body: &'e str,
    time: Time,
}

fn revision_of(event: &Event) -> Result<Option<Revision<'_>>, sqlx::Error> {
    let Some((number, body)) = event.revision() else { return Ok(None) };
    let Some(comment_id) = event.aggregate.map(CommentId::from) else { return Ok(None) };
    let body = content::open(body).map_err(|error| sqlx::Error::Encode(error.into()))?;
    Ok(Some(Revision { comment_id, number, id: event.id, body, time: event.time }))
}

/// The revisions that events make.
fn revisions(events: &[Event]) -> Result<Vec<Revision<'_>>, sqlx::Error> {
    events.iter().map(revision_of).filter_map(Result::transpose).collect()
}

/// What forgets the state that the events of a source have left.
const fn forgetting(source: Source) -> Forgetting {
    let deletes: &[&str] = match source {
        Source::Comment => &["DELETE FROM revision", "DELETE FROM comment"],
        Source::Post => &["DELETE FROM post"],
        Source::Moderation => &["DELETE FROM decision"],
    };
    Forgetting { deletes, again: &[] }
}
