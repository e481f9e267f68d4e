//! What rows hold, in every database.

use agora_proto::comment::v1::Decision;
use bus_schema::{Author, PostId, PostState, Time};
use eventstore::database::rows::{invalid, parse, unsigned};
use sqlx::FromRow;
use uuid::Uuid;

use crate::domain::{self, Verdict};

/// A comment with the verdict on its newest revision that was decided on.
#[derive(FromRow)]
pub(super) struct Comment {
    comment_id: Uuid,
    site: String,
    post_id: Uuid,
    parent_id: Option<Uuid>,
    depth: i32,
    author_id: String,
    author_name: String,
    revision: i32,
    deleted: bool,
    create_time: i64,
    update_time: i64,
    verdict: Option<i32>,
}

/// A comment with the newest revision that a viewer may see.
#[derive(FromRow)]
pub(super) struct Seen {
    #[sqlx(flatten)]
    comment: Comment,
    seen_revision: i32,
    body: String,
    time: i64,
    decision: Option<i32>,
}

/// A post, as the post service said.
#[derive(FromRow)]
pub(super) struct Post {
    post_id: Uuid,
    site: String,
    state: i32,
}

impl TryFrom<Comment> for domain::Comment {
    type Error = sqlx::Error;

    fn try_from(row: Comment) -> Result<Self, sqlx::Error> {
        let verdict = match row.verdict {
            None | Some(1) => None,
            Some(2) => Some(Verdict::Approved),
            Some(3) => Some(Verdict::Rejected),
            Some(other) => return Err(invalid("verdict", format!("{other} is no decision"))),
        };
        Ok(Self {
            id: row.comment_id.into(),
            site: parse("site", &row.site)?,
            post_id: row.post_id.into(),
            parent_id: row.parent_id.map(Into::into),
            depth: unsigned("depth", row.depth)?,
            author: Author { id: row.author_id, name: row.author_name },
            revision: unsigned("revision", row.revision)?,
            deleted: row.deleted,
            verdict,
            create_time: Time::from_micros(row.create_time),
            update_time: Time::from_micros(row.update_time),
        })
    }
}

impl TryFrom<Seen> for super::Seen {
    type Error = sqlx::Error;

    fn try_from(row: Seen) -> Result<Self, sqlx::Error> {
        let mut comment = domain::Comment::try_from(row.comment)?;
        comment.revision = unsigned("seen_revision", row.seen_revision)?;
        let mut body = row.body;
        if comment.deleted {
            body.clear();
        } else {
            comment.update_time = Time::from_micros(row.time);
        }
        let decision = Decision::try_from(row.decision.unwrap_or_default());
        Ok(Self { comment, body, decision: decision.map_err(|error| invalid("decision", error))? })
    }
}

impl TryFrom<Post> for (PostId, domain::Post) {
    type Error = sqlx::Error;

    fn try_from(row: Post) -> Result<Self, sqlx::Error> {
        let state = PostState::try_from(row.state).map_err(|error| invalid("state", error))?;
        Ok((row.post_id.into(), domain::Post { site: parse("site", &row.site)?, state }))
    }
}
