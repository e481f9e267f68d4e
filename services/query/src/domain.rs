//! What the view holds, and how events are folded into it. No I/O.
//!
//! Sources come in any order relative to each other, and the view is the same: a comment
//! holds every revision with the newest decision on it, whichever came first, and what
//! readers see is derived from that.

mod fold;

use std::sync::Arc;

use agora_proto::event::v1::Decision;
use bus_schema::{Author, CommentId, PostId, PostState, RevisionId, Sequence, Time};

pub use fold::{Early, FoldError, State, Touched};

/// A post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Its id.
    pub id: PostId,
    /// Whether its own source has spoken of it.
    pub known: bool,
    /// The site that it belongs to.
    pub site: String,
    /// The id that it has elsewhere.
    pub external_key: Option<String>,
    /// Empty if it is deleted.
    pub title: String,
    /// Empty if it is deleted.
    pub body: String,
    /// Who wrote it.
    pub author: Author,
    /// The newest revision.
    pub revision: u32,
    /// Whether it takes comments.
    pub state: PostState,
    /// When it was written.
    pub create_time: Time,
    /// When its text or state last changed.
    pub update_time: Time,
    /// When a comment on it was approved last.
    pub approve_time: Option<Time>,
    /// How many comments a reader could open.
    pub comments: i64,
}

impl Post {
    /// A post of which only its id is known.
    pub fn unknown(id: PostId) -> Self {
        Self {
            id,
            known: false,
            site: String::new(),
            external_key: None,
            title: String::new(),
            body: String::new(),
            author: Author::default(),
            revision: 0,
            state: PostState::Open,
            create_time: Time::default(),
            update_time: Time::default(),
            approve_time: None,
            comments: 0,
        }
    }

    /// The newest of its creation, its last change and the last approval of a comment
    /// on it.
    pub fn activity_time(&self) -> Time {
        self.create_time.max(self.update_time).max(self.approve_time.unwrap_or_default())
    }
}

/// A comment, without the texts of its revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// Whether its own source has spoken of it.
    pub known: bool,
    /// The post that it belongs to.
    pub post_id: PostId,
    /// What it replies to, if not to the post itself.
    pub parent_id: Option<CommentId>,
    /// 1 for a reply to the post itself.
    pub depth: u32,
    /// Who wrote it.
    pub author: Author,
    /// When it was written.
    pub create_time: Time,
    /// Whether only its place is left.
    pub deleted: bool,
    /// Every revision, in the order of their numbers.
    pub revisions: Vec<Revision>,
    /// How many comments below it a reader could open, if it has a visible revision.
    pub replies: i64,
}

/// A revision of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counted from 1.
    pub number: u32,
    /// The id of the event that made it.
    pub id: RevisionId,
    /// When it was made.
    pub time: Time,
    /// The newest decision on it.
    pub decision: Decision,
    /// The number of the event of that decision; 0 if there is none.
    pub decided_by: Sequence,
    /// Its text, if the batch brought it.
    pub body: Option<Arc<str>>,
    /// Whether the batch has changed it.
    pub changed: bool,
}

impl Comment {
    /// A comment of which only its place is known.
    pub fn unknown(id: CommentId, post_id: PostId, depth: u32) -> Self {
        Self {
            id,
            known: false,
            post_id,
            parent_id: None,
            depth,
            author: Author::default(),
            create_time: Time::default(),
            deleted: false,
            revisions: Vec::new(),
            replies: 0,
        }
    }

    /// The number of the newest revision; 0 if there is none.
    pub fn newest(&self) -> u32 {
        self.revisions.last().map_or(0, |revision| revision.number)
    }

    /// Takes in a revision, in place of one of the same number.
    pub fn add(&mut self, revision: Revision) {
        match self.revisions.binary_search_by_key(&revision.number, |kept| kept.number) {
            Ok(at) => self.revisions[at] = revision,
            Err(at) => self.revisions.insert(at, revision),
        }
    }

    /// The number of the visible revision, 0 if there is none: the newest one that was
    /// approved or rejected, if it was approved.
    pub fn shown(&self) -> u32 {
        let mut newest_first = self.revisions.iter().rev();
        let decided = newest_first
            .find(|revision| matches!(revision.decision, Decision::Approved | Decision::Rejected));
        decided
            .filter(|revision| revision.decision == Decision::Approved)
            .map_or(0, |revision| revision.number)
    }

    /// How many comments a reader could open here and below, if they could open what
    /// this one replies to.
    pub fn visible(&self) -> i64 {
        if self.shown() == 0 { 0 } else { i64::from(!self.deleted) + self.replies }
    }
}
