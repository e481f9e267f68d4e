//! Where posts are kept. All SQL stands in [`Sqlite`] and [`Postgres`]: they write, in the
//! committer's transactions; the reader reads, on connections of its own.

mod postgres;
mod reader;
mod rows;
mod sqlite;

use std::future::Future;

use bus_schema::{Event, Kind, PostId, Site, Source, Time};
use eventstore::{database::bulk::distinct, domain::Forgetting};
use futures::{Stream, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use sqlx::Pool;

use crate::domain::{Command, Post, Posts, State, Text};

pub use postgres::Postgres;
pub use sqlite::Sqlite;

/// Posts on one kind of database.
pub trait Store: eventstore::Store<Domain = Posts> {
    /// What reads them.
    type Reader: Read;

    /// A reader on these connections.
    fn reader(pool: Pool<Self::Backend>) -> Self::Reader;
}

/// Reads posts, on connections of its own.
pub trait Read: Clone + Send + Sync + 'static {
    /// One post of a site; deleted ones too, if they are asked for by id.
    fn post(
        &self,
        site: &Site,
        key: &Key,
    ) -> impl Future<Output = Result<Option<Post>, sqlx::Error>> + Send;

    /// A site's posts that are not deleted, newest first, after the cursor: at most
    /// `size` and [`MAX_PAGE_BYTES`].
    fn posts(
        &self,
        site: &Site,
        after: Option<Cursor>,
        size: usize,
    ) -> impl Future<Output = Result<Page, sqlx::Error>> + Send;
}

/// How a post is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// By its id.
    Id(PostId),
    /// By the id that it has elsewhere.
    External(String),
}

/// How many bytes of texts and ids a page of posts has at most, the first post aside: an
/// answer holds at most [`chassis::host::MAX_RESPONSE_BYTES`].
pub const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;

/// A part of a list of posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub posts: Vec<Post>,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// Where a list of posts goes on: after this one, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Microseconds.
    create_time: i64,
    /// The post's id.
    post_id: uuid::Uuid,
}

impl Cursor {
    /// Before every post.
    const START: Self = Self { create_time: i64::MAX, post_id: uuid::Uuid::max() };

    /// After this post.
    pub const fn after(create_time: Time, post_id: PostId) -> Self {
        Self { create_time: create_time.micros(), post_id: post_id.uuid() }
    }
}

/// As much of these posts as a page holds. They are at least one more than `size`, if
/// there are as many.
async fn page(
    mut rows: impl Stream<Item = Result<rows::Post, sqlx::Error>> + Unpin,
    size: usize,
) -> Result<Page, sqlx::Error> {
    let (mut posts, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let post = Post::try_from(row)?;
        bytes += size_of_texts(&post);
        if posts.len() == size || (bytes > MAX_PAGE_BYTES && !posts.is_empty()) {
            return Ok(Page { posts, is_last: false });
        }
        posts.push(post);
    }
    Ok(Page { posts, is_last: true })
}

fn size_of_texts(post: &Post) -> usize {
    let Post { text, author, external_key, .. } = post;
    let key = external_key.as_ref().map_or(0, String::len);
    text.title.len() + text.body.len() + author.id.len() + author.name.len() + key
}

/// The posts that commands change.
fn changed(commands: &[&Command]) -> Vec<PostId> {
    distinct(commands.iter().filter_map(|command| match command {
        Command::Change { post_id, .. } => Some(*post_id),
        Command::Create { .. } => None,
    }))
}

/// The keys that commands take.
fn taken_keys(commands: &[&Command]) -> Vec<(Site, String)> {
    distinct(commands.iter().filter_map(|command| match command {
        Command::Create { site, external_key, .. } => Some((site.clone(), external_key.clone()?)),
        Command::Change { .. } => None,
    }))
}

/// The revisions whose texts events name without holding them.
fn named_revisions(events: &[Event]) -> Vec<(PostId, u32)> {
    distinct(events.iter().filter_map(|event| match &event.kind {
        Kind::PostClosed(closed) => Some((event.post_id?, closed.revision)),
        Kind::PostReopened(reopened) => Some((event.post_id?, reopened.revision)),
        Kind::PostCreated(_)
        | Kind::PostUpdated(_)
        | Kind::PostDeleted(_)
        | Kind::CommentCreated(_)
        | Kind::CommentUpdated(_)
        | Kind::CommentDeleted(_)
        | Kind::PolicySet(_)
        | Kind::RevisionDecided(_) => None,
    }))
}

/// The posts that events happen to.
fn touched(events: &[Event]) -> Vec<PostId> {
    distinct(events.iter().filter_map(|event| event.post_id))
}

/// The posts that events happened to, as they are now.
fn left<'s>(state: &'s State, events: &[Event]) -> Vec<&'s Post> {
    touched(events).iter().filter_map(|id| state.posts.get(id)).collect()
}

/// The texts that events made.
fn new_texts<'s>(state: &'s State, events: &[Event]) -> Vec<((PostId, u32), &'s Text)> {
    let revisions = events.iter().filter_map(|event| match &event.kind {
        Kind::PostCreated(_) => Some((event.post_id?, 1)),
        Kind::PostUpdated(updated) => Some((event.post_id?, updated.revision)),
        Kind::PostDeleted(_)
        | Kind::PostClosed(_)
        | Kind::PostReopened(_)
        | Kind::CommentCreated(_)
        | Kind::CommentUpdated(_)
        | Kind::CommentDeleted(_)
        | Kind::PolicySet(_)
        | Kind::RevisionDecided(_) => None,
    });
    revisions.filter_map(|key| Some((key, state.texts.get(&key)?))).collect()
}

/// What forgets the state that the events of a source have left.
const fn forgetting(source: Source) -> Forgetting {
    match source {
        Source::Post => {
            Forgetting { deletes: &["DELETE FROM revision", "DELETE FROM post"], again: &[] }
        }
        Source::Comment | Source::Moderation => Forgetting { deletes: &[], again: &[] },
    }
}
