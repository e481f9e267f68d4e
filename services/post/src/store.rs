//! Where posts are kept. All SQL stands in [`sqlite`]: [`Sqlite`] writes, in the
//! committer's transactions; [`Reader`] reads, on connections of its own.

mod sqlite;

use bus_schema::{PostId, Time};
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;

use crate::domain::Post;

pub use sqlite::{Reader, Sqlite};

/// The migrations of the service's own tables.
pub static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

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
    /// After this post.
    pub const fn after(create_time: Time, post_id: PostId) -> Self {
        Self { create_time: create_time.micros(), post_id: post_id.uuid() }
    }
}
