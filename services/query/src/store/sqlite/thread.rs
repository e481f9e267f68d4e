use std::collections::HashMap;

use agora_proto::event::v1::Decision;
use bus_schema::{CommentId, PostId, Time};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::rows;
use crate::{
    domain::Comment,
    thread::{Cursor, Order},
};

/// Who reads: decides which comments they see, and which revision of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Sees what everybody sees.
    Public,
    /// Sees besides what they wrote themselves.
    Author(String),
    /// Sees everything.
    Moderator,
}

/// A comment as a viewer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The comment.
    pub comment: Comment,
    /// The number of the revision that is seen.
    pub revision: u32,
    /// Its text; empty if the comment is deleted.
    pub body: String,
    /// When it was made.
    pub time: Time,
    /// The newest decision on it.
    pub decision: Decision,
    /// Whether it is the visible revision.
    pub public: bool,
    /// Whether the comment has a visible revision.
    pub open: bool,
    /// Whether there are replies that the viewer may see.
    pub has_replies: bool,
}

impl Seen {
    /// How many bytes of an answer it takes, at about.
    pub const fn size(&self) -> usize {
        let author = &self.comment.author;
        512 + self.body.len() + author.id.len() + author.name.len()
    }

    /// Where siblings go on after this one.
    pub const fn key(&self) -> (Time, CommentId) {
        (self.comment.create_time, self.comment.id)
    }
}

/// How many comments of their own that others do not see an author is shown at most.
const MAX_OWN: i64 = 200;

/// `?1` is 1 for readers, who see visible revisions, and 0 for moderators, who see the
/// newest.
macro_rules! seen {
    ($from:literal) => {
        concat!(
            "SELECT c.comment_id, c.known, c.post_id, c.parent_key, c.depth, c.author_id, \
             c.author_name, c.create_time, c.deleted, c.replies, c.shown, \
             r.revision AS seen_revision, r.body, r.time, r.decision, EXISTS (\
                 SELECT 1 FROM comment x WHERE x.parent_key = c.comment_id AND x.open >= ?1\
             ) AS has_replies FROM ",
            $from
        )
    };
}

macro_rules! siblings {
    ($open:literal, $compare:literal, $order:literal) => {
        concat!(
            seen!(
                "comment c JOIN revision r ON r.comment_id = c.comment_id \
                 AND r.revision = CASE ?1 WHEN 1 THEN c.shown ELSE c.newest END \
                 WHERE c.parent_key = ?2 AND c.known AND "
            ),
            $open,
            " AND (c.create_time, c.comment_id) ",
            $compare,
            " (?3, ?4) ORDER BY c.create_time ",
            $order,
            ", c.comment_id ",
            $order,
            " LIMIT ?5"
        )
    };
}

macro_rules! replies {
    ($open:literal, $order:literal) => {
        concat!(
            seen!(
                "json_each(?2) p JOIN comment c ON c.comment_id IN (\
                     SELECT x.comment_id FROM comment x \
                     WHERE x.parent_key = unhex(p.value) AND x.known AND "
            ),
            $open,
            " ORDER BY x.create_time ",
            $order,
            ", x.comment_id ",
            $order,
            " LIMIT ?3) JOIN revision r ON r.comment_id = c.comment_id \
             AND r.revision = CASE ?1 WHEN 1 THEN c.shown ELSE c.newest END"
        )
    };
}

/// The comments directly under a post or comment, in order, after the cursor.
pub(super) async fn siblings(
    connection: &mut SqliteConnection,
    parent: Uuid,
    moderator: bool,
    order: Order,
    after: Option<(Time, CommentId)>,
    limit: usize,
) -> Result<Vec<Seen>, sqlx::Error> {
    let text = match (moderator, order) {
        (false, Order::NewestFirst) => siblings!("c.open = 1", "<", "DESC"),
        (false, Order::OldestFirst) => siblings!("c.open = 1", ">", "ASC"),
        (true, Order::NewestFirst) => siblings!("c.open >= 0", "<", "DESC"),
        (true, Order::OldestFirst) => siblings!("c.open >= 0", ">", "ASC"),
    };
    let (time, id) = after.unwrap_or(match order {
        Order::NewestFirst => (Time::from_micros(i64::MAX), Uuid::max().into()),
        Order::OldestFirst => (Time::from_micros(i64::MIN), Uuid::nil().into()),
    });
    let rows = sqlx::query(text)
        .bind(i64::from(!moderator))
        .bind(parent.as_bytes().as_slice())
        .bind(time.micros())
        .bind(id.as_bytes().as_slice())
        .bind(limit as i64)
        .fetch_all(connection)
        .await?;
    rows.iter().map(seen).collect()
}

/// The first replies to each of some comments, at most `limit` each, in order.
pub(super) async fn replies(
    connection: &mut SqliteConnection,
    parents: &[CommentId],
    moderator: bool,
    order: Order,
    limit: usize,
) -> Result<HashMap<CommentId, Vec<Seen>>, sqlx::Error> {
    if parents.is_empty() {
        return Ok(HashMap::new());
    }
    let text = match (moderator, order) {
        (false, Order::NewestFirst) => replies!("x.open = 1", "DESC"),
        (false, Order::OldestFirst) => replies!("x.open = 1", "ASC"),
        (true, Order::NewestFirst) => replies!("x.open >= 0", "DESC"),
        (true, Order::OldestFirst) => replies!("x.open >= 0", "ASC"),
    };
    let ids: Vec<String> = parents.iter().map(|id| id.uuid().simple().to_string()).collect();
    let rows = sqlx::query(text)
        .bind(i64::from(!moderator))
        .bind(format!("[\"{}\"]", ids.join("\",\"")))
        .bind(limit as i64)
        .fetch_all(connection)
        .await?;
    let mut replies: HashMap<CommentId, Vec<Seen>> = HashMap::new();
    for row in &rows {
        let seen = seen(row)?;
        if let Some(parent) = seen.comment.parent_id {
            replies.entry(parent).or_default().push(seen);
        }
    }
    for siblings in replies.values_mut() {
        order.sort(siblings);
    }
    Ok(replies)
}

/// An author's comments on a post of which others do not see the newest revision.
pub(super) async fn own(
    connection: &mut SqliteConnection,
    post_id: PostId,
    author_id: &str,
) -> Result<Vec<Seen>, sqlx::Error> {
    let rows = sqlx::query(seen!(
        "comment c JOIN revision r ON r.comment_id = c.comment_id AND r.revision = c.newest \
         WHERE c.post_id = ?2 AND c.author_id = ?3 AND c.shown <> c.newest AND c.known \
         AND NOT c.deleted LIMIT ?4"
    ))
    .bind(1)
    .bind(post_id.as_bytes().as_slice())
    .bind(author_id)
    .bind(MAX_OWN)
    .fetch_all(connection)
    .await?;
    rows.iter().map(seen).collect()
}

/// Whether a comment belongs to a post and, for readers, it and every ancestor have a
/// visible revision.
pub(super) async fn is_reachable(
    connection: &mut SqliteConnection,
    post_id: PostId,
    id: CommentId,
    moderator: bool,
) -> Result<bool, sqlx::Error> {
    let hidden: Option<i64> = sqlx::query_scalar(
        "WITH RECURSIVE up (comment_id, post_id, parent_key, open) AS (\
             SELECT comment_id, post_id, parent_key, open FROM comment WHERE comment_id = ?1 \
             UNION ALL \
             SELECT c.comment_id, c.post_id, c.parent_key, c.open FROM comment c \
             JOIN up ON c.comment_id = up.parent_key\
         ) SELECT sum(open < ?3 OR post_id <> ?2) FROM up",
    )
    .bind(id.as_bytes().as_slice())
    .bind(post_id.as_bytes().as_slice())
    .bind(i64::from(!moderator))
    .fetch_one(connection)
    .await?;
    Ok(hidden == Some(0))
}

fn seen(row: &SqliteRow) -> Result<Seen, sqlx::Error> {
    let comment = rows::comment(row)?;
    let revision: u32 = row.try_get("seen_revision")?;
    let shown: u32 = row.try_get("shown")?;
    let mut body: String = row.try_get("body")?;
    if comment.deleted {
        body.clear();
    }
    Ok(Seen {
        comment,
        revision,
        body,
        time: rows::time(row, "time")?,
        decision: rows::decision(row)?,
        public: revision == shown,
        open: shown > 0,
        has_replies: row.try_get("has_replies")?,
    })
}

/// The id that a cursor goes on under.
pub(super) fn parent_key(post_id: PostId, cursor: Option<&Cursor>) -> Uuid {
    cursor.and_then(|cursor| cursor.parent).map_or(post_id.uuid(), CommentId::uuid)
}
