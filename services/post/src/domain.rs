//! The rules of posts: commands become events, events become state. No I/O.

use std::collections::HashMap;

use agora_proto::event::v1 as event;
use bus_schema::{Author, Event, Kind, KindName, PostId, PostState, Site, Source, Time, plain};
use chassis::{
    call::{Actor, Origin},
    content,
    fields::{Limit, Max},
};
use eventstore::domain::{ApplyError, Draft};

use crate::Error;

/// A title: 1 to 300 characters, one line.
pub const TITLE: Limit = Limit { may_be_empty: false, max: Max::Characters(300), multiline: false };
/// A body: at most 64 KiB.
pub const BODY: Limit = Limit { may_be_empty: true, max: Max::Bytes(64 * 1024), multiline: true };
/// An external key: at most 1,024 characters, one line.
pub const EXTERNAL_KEY: Limit =
    Limit { may_be_empty: true, max: Max::Characters(1_024), multiline: false };

/// A post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Its id.
    pub id: PostId,
    /// The site that it belongs to.
    pub site: Site,
    /// The id that it has elsewhere.
    pub external_key: Option<String>,
    /// Who wrote it.
    pub author: Author,
    /// Title and body of the revision; empty if it is deleted.
    pub text: Text,
    /// The newest revision, from 1.
    pub revision: u32,
    /// Whether it takes comments.
    pub state: PostState,
    /// When it was written.
    pub create_time: Time,
    /// When text or state last changed.
    pub update_time: Time,
}

/// Title and body of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// One line.
    pub title: String,
    /// May be empty.
    pub body: String,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new post.
    Create {
        /// Its id.
        post_id: PostId,
        /// The site that it is for.
        site: Site,
        /// The id that it has elsewhere.
        external_key: Option<String>,
        /// Title and body.
        text: Text,
        /// Who wrote it.
        author: Author,
        /// When it was written, if that was earlier.
        create_time: Option<Time>,
    },
    /// A change of an existing post.
    Change {
        /// Which.
        post_id: PostId,
        /// By whom.
        actor: Actor,
        /// The revision that it was made on, if that matters.
        revision: Option<u32>,
        /// What is to change.
        change: Change,
    },
}

/// What is to change of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Title, body or both: a new revision.
    Update {
        /// The new title, if it is to change.
        title: Option<String>,
        /// The new body, if it is to change.
        body: Option<String>,
    },
    /// Leave a tombstone.
    Delete,
    /// Take no further comments.
    Close,
    /// Take comments again.
    Reopen,
}

impl Command {
    /// The post that it is about.
    pub const fn post_id(&self) -> PostId {
        match self {
            Self::Create { post_id, .. } | Self::Change { post_id, .. } => *post_id,
        }
    }
}

/// The posts that a batch touches.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// By id.
    pub posts: HashMap<PostId, Post>,
    /// Which post of a site has a key; deleted ones have none.
    pub keys: HashMap<(Site, String), PostId>,
    /// Texts of older revisions that answers need.
    pub texts: HashMap<(PostId, u32), Text>,
}

impl State {
    /// A post of a site.
    fn post(&self, site: &Site, id: PostId) -> Result<&Post, Error> {
        self.posts.get(&id).filter(|post| post.site == *site).ok_or(Error::PostNotFound)
    }
}

/// The domain of the post service.
pub struct Posts;

impl eventstore::Domain for Posts {
    const SOURCE: Source = Source::Post;
    const CONSUMES: &'static [Source] = &[];
    type Command = Command;
    type State = State;
    type Reply = Post;
    type Error = Error;

    fn decide(
        state: &State,
        origin: &Origin,
        command: &Command,
        now: Time,
    ) -> Result<Vec<Draft>, Error> {
        let kind = match command {
            Command::Create { external_key, text, author, create_time, .. } => {
                if let Some(key) = external_key
                    && let Some(post_id) = state.keys.get(&(origin.site.clone(), key.clone()))
                {
                    return Err(Error::ExternalKeyTaken { post_id: *post_id });
                }
                created(external_key.as_deref(), text, author, create_time.unwrap_or(now))
            }
            Command::Change { post_id, actor, revision, change } => {
                let post = state.post(&origin.site, *post_id)?;
                may_change(post, actor, *revision)?;
                changed(post, change)?
            }
        };
        let id = command.post_id();
        Ok(vec![Draft {
            site: origin.site.clone(),
            post_id: Some(id),
            aggregate: Some(id.uuid()),
            actor: origin.actor.clone(),
            kind,
        }])
    }

    fn makes(command: &Command) -> KindName {
        match command {
            Command::Create { .. } => KindName::PostCreated,
            Command::Change { change, .. } => match change {
                Change::Update { .. } => KindName::PostUpdated,
                Change::Delete => KindName::PostDeleted,
                Change::Close => KindName::PostClosed,
                Change::Reopen => KindName::PostReopened,
            },
        }
    }

    fn apply(state: &mut State, event: &Event) -> Result<(), ApplyError> {
        let post = Self::reply(state, event)?;
        if let Some(key) = &post.external_key {
            let key = (post.site.clone(), key.clone());
            match post.state {
                PostState::Deleted => state.keys.remove(&key),
                PostState::Open | PostState::Closed => state.keys.insert(key, post.id),
            };
        }
        if post.state != PostState::Deleted {
            state.texts.insert((post.id, post.revision), post.text.clone());
        }
        state.posts.insert(post.id, post);
        Ok(())
    }

    fn reply(state: &State, event: &Event) -> Result<Post, ApplyError> {
        let id = event.post_id.ok_or("an event of a post without its id")?;
        let of_revision = |revision| {
            let text = state.texts.get(&(id, revision)).cloned();
            text.ok_or("an event of an unknown revision")
        };
        let (revision, text, now) = match &event.kind {
            Kind::PostCreated(created) => return new_post(id, event, created),
            Kind::PostUpdated(updated) => {
                let now = if updated.closed { PostState::Closed } else { PostState::Open };
                let text = text(updated.title.as_ref(), updated.body.as_ref())?;
                (updated.revision, text, now)
            }
            Kind::PostClosed(closed) => {
                (closed.revision, of_revision(closed.revision)?, PostState::Closed)
            }
            Kind::PostReopened(reopened) => {
                (reopened.revision, of_revision(reopened.revision)?, PostState::Open)
            }
            Kind::PostDeleted(deleted) => (deleted.revision, Text::default(), PostState::Deleted),
            Kind::CommentCreated(_)
            | Kind::CommentUpdated(_)
            | Kind::CommentDeleted(_)
            | Kind::PolicySet(_)
            | Kind::RevisionDecided(_) => return Err("an event of another source".into()),
        };
        let before = state.posts.get(&id).ok_or("an event of an unknown post")?;
        Ok(Post { text, revision, state: now, update_time: event.time, ..before.clone() })
    }
}

fn new_post(id: PostId, event: &Event, created: &event::PostCreated) -> Result<Post, ApplyError> {
    Ok(Post {
        id,
        site: event.site.clone(),
        external_key: Some(created.external_key.clone()).filter(|key| !key.is_empty()),
        author: content::author(created.author.as_ref().ok_or("an event without its author")?)?,
        text: text(created.title.as_ref(), created.body.as_ref())?,
        revision: 1,
        state: PostState::Open,
        create_time: time(created.create_time.as_ref())?,
        update_time: event.time,
    })
}

/// Whether a post may be changed, by this actor and on this revision.
fn may_change(post: &Post, actor: &Actor, revision: Option<u32>) -> Result<(), Error> {
    if post.author.id != actor.id && !actor.administers {
        return Err(Error::NotTheAuthor);
    }
    if post.state == PostState::Deleted {
        return Err(Error::PostDeleted);
    }
    if revision.is_some_and(|revision| revision != post.revision) {
        return Err(Error::StaleRevision { current: post.revision });
    }
    Ok(())
}

fn created(key: Option<&str>, text: &Text, author: &Author, create_time: Time) -> Kind {
    Kind::PostCreated(event::PostCreated {
        external_key: key.unwrap_or_default().to_owned(),
        title: Some(plain(&text.title)),
        body: Some(plain(&text.body)),
        author: Some(author.into()),
        create_time: Some(create_time.into()),
    })
}

fn changed(post: &Post, change: &Change) -> Result<Kind, Error> {
    let revision = post.revision;
    Ok(match change {
        Change::Update { title, body } => Kind::PostUpdated(event::PostUpdated {
            revision: revision + 1,
            title: Some(plain(title.as_ref().unwrap_or(&post.text.title))),
            body: Some(plain(body.as_ref().unwrap_or(&post.text.body))),
            closed: post.state == PostState::Closed,
        }),
        Change::Delete => Kind::PostDeleted(event::PostDeleted { revision }),
        Change::Close if post.state == PostState::Closed => {
            return Err(Error::PostAlreadyClosed);
        }
        Change::Close => Kind::PostClosed(event::PostClosed { revision }),
        Change::Reopen if post.state == PostState::Open => return Err(Error::PostNotClosed),
        Change::Reopen => Kind::PostReopened(event::PostReopened { revision }),
    })
}

fn text(title: Option<&event::Content>, body: Option<&event::Content>) -> Result<Text, ApplyError> {
    Ok(Text { title: content::open(title)?.to_owned(), body: content::open(body)?.to_owned() })
}

fn time(timestamp: Option<&prost_types::Timestamp>) -> Result<Time, ApplyError> {
    Ok(Time::try_from(timestamp.ok_or("an event without its time")?)?)
}
