//! What the views of the owners' databases hold.

use bus_schema::{Author, PostState, Sequence, Source, Time};
use eventstore::{Position, database::rows};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    domain::{Comment, Post},
    store::Seen,
};

type SqlResult<T> = Result<T, sqlx::Error>;

#[derive(FromRow)]
pub(super) struct PositionRow {
    source: String,
    sequence: i64,
}

/// How far an owner is.
pub(super) fn position(found: Vec<PositionRow>) -> SqlResult<Position> {
    let mut position = Position::ZERO;
    for PositionRow { source, sequence } in found {
        let source: Source = rows::parse("source", &source)?;
        position = position.with(source, Sequence::from_i64(sequence));
    }
    Ok(position)
}

/// A site's posts.
macro_rules! select_posts {
    ($where:literal) => {
        concat!(
            "SELECT post_id, site, external_key, title, body, author_id, author_name, state, \
             revision, create_time, update_time FROM public_post_v1 WHERE site = $1 AND ",
            $where
        )
    };
}

pub(super) use select_posts;

#[derive(FromRow)]
pub(super) struct PostRow {
    post_id: Uuid,
    site: String,
    external_key: Option<String>,
    title: String,
    body: String,
    author_id: String,
    author_name: String,
    state: i32,
    revision: i32,
    create_time: i64,
    update_time: i64,
}

impl PostRow {
    pub(super) fn parse(self) -> SqlResult<Post> {
        let state = PostState::try_from(self.state);
        Ok(Post {
            id: self.post_id.into(),
            known: true,
            site: self.site,
            external_key: self.external_key,
            title: self.title,
            body: self.body,
            author: Author { id: self.author_id, name: self.author_name },
            revision: rows::unsigned("revision", self.revision)?,
            state: state.map_err(|error| rows::invalid("state", error))?,
            create_time: Time::from_micros(self.create_time),
            update_time: Time::from_micros(self.update_time),
            approve_time: None,
            // Nobody counts them there.
            comments: 0,
        })
    }
}

/// The columns of a comment, those aside that a page asks for.
macro_rules! comment_columns {
    () => {
        "comment_id, post_id, parent_id, depth, author_id, author_name, create_time, deleted, \
         revision, time, body"
    };
}

pub(super) use comment_columns;

#[derive(FromRow)]
pub(super) struct CommentRow {
    comment_id: Uuid,
    post_id: Uuid,
    parent_id: Option<Uuid>,
    depth: i32,
    author_id: String,
    author_name: String,
    create_time: i64,
    deleted: bool,
    revision: i32,
    time: i64,
    body: String,
    has_replies: bool,
}

impl CommentRow {
    pub(super) fn parse(self) -> SqlResult<Seen> {
        let comment = Comment {
            parent_id: self.parent_id.map(Into::into),
            author: Author { id: self.author_id, name: self.author_name },
            create_time: Time::from_micros(self.create_time),
            deleted: self.deleted,
            known: true,
            ..Comment::unknown(
                self.comment_id.into(),
                self.post_id.into(),
                rows::unsigned("depth", self.depth)?,
            )
        };
        Ok(Seen {
            comment,
            revision: rows::unsigned("revision", self.revision)?,
            body: self.body,
            time: Time::from_micros(self.time),
            decision: agora_proto::event::v1::Decision::Approved,
            public: true,
            open: true,
            has_replies: self.has_replies,
        })
    }
}
