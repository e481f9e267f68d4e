//! The rules of comments: commands become events, events become state. No I/O.

use std::collections::HashMap;

use agora_proto::event::v1 as event;
use bus_schema::{
    Author, CommentId, Event, Kind, KindName, PostId, PostState, Site, Source, Time, plain,
};
use chassis::{
    call::{Actor, Origin},
    content,
    fields::{Limit, Max},
};
use eventstore::domain::{ApplyError, Draft};

use crate::Error;

/// A body: 1 character to 16 KiB.
pub const BODY: Limit = Limit { may_be_empty: false, max: Max::Bytes(16 * 1024), multiline: true };
/// How deep replies go at most; a reply to the post itself has depth 1.
pub const MAX_DEPTH: u32 = 64;

/// A comment, without its text: rules need none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// The site that it belongs to.
    pub site: Site,
    /// The post that it belongs to.
    pub post_id: PostId,
    /// What it replies to, if not to the post itself.
    pub parent_id: Option<CommentId>,
    /// 1 for a reply to the post itself.
    pub depth: u32,
    /// Who wrote it.
    pub author: Author,
    /// The newest revision, from 1.
    pub revision: u32,
    /// Whether only its place is left.
    pub deleted: bool,
    /// Moderation's verdict on its newest revision that was approved or rejected, as
    /// far as this service has heard.
    pub verdict: Option<Verdict>,
    /// When it was written.
    pub create_time: Time,
    /// When its newest revision was made, or it was deleted.
    pub update_time: Time,
}

/// A decision that is none for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everybody may see it.
    Approved,
    /// Nobody but its author and moderators.
    Rejected,
}

/// What the post service said of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The site that it belongs to.
    pub site: Site,
    /// Whether it takes comments.
    pub state: PostState,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new comment.
    Create(Create),
    /// A change of an existing comment.
    Change {
        /// Which.
        comment_id: CommentId,
        /// By whom.
        actor: Actor,
        /// The revision that it was made on, if that matters.
        revision: Option<u32>,
        /// What is to change.
        change: Change,
    },
}

/// A new comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its id.
    pub comment_id: CommentId,
    /// The post that it is for.
    pub post_id: PostId,
    /// What it replies to, if not to the post itself.
    pub parent_id: Option<CommentId>,
    /// Its text.
    pub body: String,
    /// Who wrote it.
    pub author: Author,
    /// When it was written, if it is not being written now.
    pub create_time: Option<Time>,
    /// What the post service answered, if it had to be asked: counts only for a post
    /// that was not heard of otherwise.
    pub asked: Option<PostState>,
}

/// What is to change of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new revision with this body.
    Update {
        /// Its text.
        body: String,
    },
    /// Leave its place only.
    Delete,
}

/// What an answer says of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The comment.
    pub comment: Comment,
    /// The text of its revision; empty if it is deleted.
    pub body: String,
}

/// The comments and posts that a batch touches.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// By id.
    pub comments: HashMap<CommentId, Comment>,
    /// The posts that were heard of, by id.
    pub posts: HashMap<PostId, Post>,
}

/// The domain of the comment service.
pub struct Comments;

impl eventstore::Domain for Comments {
    const SOURCE: Source = Source::Comment;
    const CONSUMES: &'static [Source] = &[Source::Post, Source::Moderation];
    type Command = Command;
    type State = State;
    type Reply = Reply;
    type Error = Error;

    fn decide(
        state: &State,
        origin: &Origin,
        command: &Command,
        now: Time,
    ) -> Result<Vec<Draft>, Error> {
        let (comment_id, post_id, kind) = match command {
            Command::Create(create) => {
                let depth = may_create(state, &origin.site, create)?;
                (create.comment_id, create.post_id, created(create, depth, now))
            }
            Command::Change { comment_id, actor, revision, change } => {
                let comment = state.comments.get(comment_id);
                let comment = comment.filter(|comment| comment.site == origin.site);
                let comment = comment.ok_or(Error::CommentNotFound)?;
                may_change(comment, actor, *revision)?;
                (comment.id, comment.post_id, changed(comment, change))
            }
        };
        Ok(vec![Draft {
            site: origin.site.clone(),
            post_id: Some(post_id),
            aggregate: Some(comment_id.uuid()),
            actor: origin.actor.clone(),
            kind,
        }])
    }

    fn makes(command: &Command) -> KindName {
        match command {
            Command::Create(_) => KindName::CommentCreated,
            Command::Change { change, .. } => match change {
                Change::Update { .. } => KindName::CommentUpdated,
                Change::Delete => KindName::CommentDeleted,
            },
        }
    }

    fn apply(state: &mut State, event: &Event) -> Result<(), ApplyError> {
        let comment = comment(state, event)?;
        state.comments.insert(comment.id, comment);
        Ok(())
    }

    fn reply(state: &State, event: &Event) -> Result<Reply, ApplyError> {
        let comment = comment(state, event)?;
        let body = match event.revision() {
            Some((_, body)) => content::open(body)?,
            None => "",
        };
        Ok(Reply { comment, body: body.to_owned() })
    }
}

/// Whether a comment may be created, and how deep it will be.
fn may_create(state: &State, site: &Site, create: &Create) -> Result<u32, Error> {
    let post = match state.posts.get(&create.post_id) {
        Some(post) if post.site != *site => return Err(Error::PostNotFound),
        Some(post) => post.state,
        None => create.asked.ok_or(Error::PostNotHeardOf)?,
    };
    match post {
        PostState::Open => {}
        PostState::Closed => return Err(Error::PostClosed),
        PostState::Deleted => return Err(Error::PostDeleted),
    }
    let Some(parent_id) = create.parent_id else { return Ok(1) };
    let parent = state.comments.get(&parent_id).ok_or(Error::ParentNotFound)?;
    if parent.post_id != create.post_id || parent.site != *site {
        return Err(Error::ParentNotFound);
    }
    if parent.deleted {
        return Err(Error::ParentDeleted);
    }
    if parent.verdict == Some(Verdict::Rejected) {
        return Err(Error::ParentRejected);
    }
    if parent.depth >= MAX_DEPTH {
        return Err(Error::TooDeep);
    }
    Ok(parent.depth + 1)
}

/// Whether a comment may be changed, by this actor and on this revision.
fn may_change(comment: &Comment, actor: &Actor, revision: Option<u32>) -> Result<(), Error> {
    if comment.author.id != actor.id && !actor.administers {
        return Err(Error::NotTheAuthor);
    }
    if comment.deleted {
        return Err(Error::CommentDeleted);
    }
    if revision.is_some_and(|revision| revision != comment.revision) {
        return Err(Error::StaleRevision { current: comment.revision });
    }
    Ok(())
}

fn created(create: &Create, depth: u32, now: Time) -> Kind {
    Kind::CommentCreated(event::CommentCreated {
        parent_id: create.parent_id.map(CommentId::to_bytes).unwrap_or_default(),
        depth,
        body: Some(plain(&create.body)),
        author: Some((&create.author).into()),
        create_time: Some(create.create_time.unwrap_or(now).into()),
    })
}

fn changed(comment: &Comment, change: &Change) -> Kind {
    match change {
        Change::Update { body } => Kind::CommentUpdated(event::CommentUpdated {
            revision: comment.revision + 1,
            body: Some(plain(body)),
        }),
        Change::Delete => {
            Kind::CommentDeleted(event::CommentDeleted { revision: comment.revision })
        }
    }
}

/// The comment as an event leaves it.
fn comment(state: &State, event: &Event) -> Result<Comment, ApplyError> {
    let id = CommentId::from(event.aggregate.ok_or("an event of a comment without its id")?);
    let (revision, deleted) = match &event.kind {
        Kind::CommentCreated(created) => return new_comment(id, event, created),
        Kind::CommentUpdated(updated) => (updated.revision, false),
        Kind::CommentDeleted(deleted) => (deleted.revision, true),
        Kind::PostCreated(_)
        | Kind::PostUpdated(_)
        | Kind::PostDeleted(_)
        | Kind::PostClosed(_)
        | Kind::PostReopened(_)
        | Kind::PolicySet(_)
        | Kind::RevisionDecided(_) => return Err("an event of another source".into()),
    };
    let before = state.comments.get(&id).ok_or("an event of an unknown comment")?;
    Ok(Comment { revision, deleted, update_time: event.time, ..before.clone() })
}

fn new_comment(
    id: CommentId,
    event: &Event,
    created: &event::CommentCreated,
) -> Result<Comment, ApplyError> {
    let author = created.author.as_ref().ok_or("a comment without its author")?;
    let create_time = created.create_time.as_ref().ok_or("a comment without its time")?;
    Ok(Comment {
        id,
        site: event.site.clone(),
        post_id: event.post_id.ok_or("a comment without its post")?,
        parent_id: match created.parent_id.as_ref() {
            [] => None,
            id => Some(CommentId::from_slice(id)?),
        },
        depth: created.depth,
        author: content::author(author)?,
        revision: 1,
        deleted: false,
        verdict: None,
        create_time: Time::try_from(create_time)?,
        update_time: event.time,
    })
}
