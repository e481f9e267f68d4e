//! A page of a feed.

use serde::{Deserialize, Serialize};

use crate::domain::Post;

/// The order of a feed, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By last activity.
    LastActivity,
    /// By creation.
    Newest,
}

/// Where a feed goes on: after this post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Microseconds, of what the order is by.
    pub(crate) time: i64,
    /// The post's id.
    pub(crate) post_id: uuid::Uuid,
}

impl Cursor {
    /// After this post.
    pub fn after(order: Order, post: &Post) -> Self {
        let time = match order {
            Order::LastActivity => post.activity_time(),
            Order::Newest => post.create_time,
        };
        Self { time: time.micros(), post_id: post.id.uuid() }
    }
}
