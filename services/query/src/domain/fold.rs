use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use agora_proto::event::v1::{self as event, Decision};
use bus_schema::{
    Author, CommentId, Event, InvalidId, InvalidTime, Kind, PostId, PostState, RevisionId,
    Sequence, Time,
};
use chassis::{
    content::{self, OpenError},
    failpoint,
};

use super::{Comment, Post, Revision};

/// Why an event cannot be folded.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Its content cannot be opened here.
    #[error(transparent)]
    Content(#[from] OpenError),
    /// One of its ids is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// One of its times is none.
    #[error(transparent)]
    Time(#[from] InvalidTime),
    /// It lacks a field.
    #[error("the event has no {0}")]
    Missing(&'static str),
}

/// A decision on a revision that has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early {
    /// What was decided.
    pub decision: Decision,
    /// The number of the decision's event.
    pub decided_by: Sequence,
}

/// What a batch of events touches, to be loaded before it is folded; some of it repeatedly.
#[derive(Debug, Default)]
pub struct Touched {
    /// Posts.
    pub posts: Vec<PostId>,
    /// Comments.
    pub comments: Vec<CommentId>,
    /// Revisions that decisions may have come for before.
    pub revisions: Vec<RevisionId>,
}

impl Touched {
    /// Adds what one event touches.
    ///
    /// # Errors
    /// If it lacks an id.
    pub fn add(&mut self, event: &Event) -> Result<(), FoldError> {
        match &event.kind {
            Kind::PostCreated(_)
            | Kind::PostUpdated(_)
            | Kind::PostDeleted(_)
            | Kind::PostClosed(_)
            | Kind::PostReopened(_) => self.posts.push(post_id(event)?),
            Kind::CommentCreated(_) | Kind::CommentUpdated(_) => {
                self.comments.push(aggregate(event)?);
                self.revisions.push(event.id.into());
            }
            Kind::CommentDeleted(_) => {
                self.comments.push(aggregate(event)?);
            }
            Kind::RevisionDecided(decided) => {
                let post_id = post_id(event)?;
                self.comments.push(aggregate(event)?);
                if decided.decision() == Decision::Approved {
                    self.posts.push(post_id);
                }
            }
            // The view holds no policies.
            Kind::PolicySet(_) => {}
        }
        Ok(())
    }
}

/// By ids, which callers do not choose: a hash that withstands them is not needed.
type ById<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The rows that a batch touches, on their way through the fold.
#[derive(Debug, Default)]
pub struct State {
    /// Posts, and whether they have changed.
    pub posts: ById<PostId, Row<Post>>,
    /// Comments, and whether they have changed.
    pub comments: ById<CommentId, Row<Comment>>,
    /// Early decisions; those that found their revision are gone.
    pub early: ById<RevisionId, Option<Early>>,
}

/// A row, and what the fold did to it.
#[derive(Debug)]
pub struct Row<T> {
    /// As it is now.
    pub now: T,
    /// Whether it must be written.
    pub changed: bool,
    /// Whether it was not there before.
    pub is_new: bool,
    /// What it adds to the count of what it belongs to, as that has it.
    counted: i64,
}

impl<T> Row<T> {
    const fn loaded(now: T, counted: i64) -> Self {
        Self { now, changed: false, is_new: false, counted }
    }

    const fn new(now: T) -> Self {
        Self { now, changed: false, is_new: true, counted: 0 }
    }

    /// The row, to be changed.
    fn change(&mut self) -> &mut T {
        self.changed = true;
        &mut self.now
    }
}

impl State {
    /// Takes in a post that was loaded.
    pub fn load_post(&mut self, post: Post) {
        self.posts.insert(post.id, Row::loaded(post, 0));
    }

    /// Takes in a comment that was loaded with all its revisions.
    pub fn load_comment(&mut self, comment: Comment) {
        let counted = comment.visible();
        self.comments.insert(comment.id, Row::loaded(comment, counted));
    }

    /// Folds one event. Counts follow in [`Self::settle`].
    ///
    /// # Errors
    /// If it cannot be folded; then nothing has changed.
    pub fn fold(&mut self, event: &Event) -> Result<(), FoldError> {
        match &event.kind {
            Kind::PostCreated(created) => self.post_created(event, created),
            Kind::PostUpdated(updated) => {
                let title = content::open(updated.title.as_ref())?.to_owned();
                let body = content::open(updated.body.as_ref())?.to_owned();
                let post = self.post(event)?;
                (post.title, post.body) = (title, body);
                post.revision = updated.revision;
                post.update_time = event.time;
                Ok(())
            }
            Kind::PostClosed(_) => self.post_state(event, PostState::Closed),
            Kind::PostReopened(_) => self.post_state(event, PostState::Open),
            Kind::PostDeleted(_) => {
                self.post_state(event, PostState::Deleted)?;
                let post = self.post(event)?;
                post.title.clear();
                post.body.clear();
                Ok(())
            }
            Kind::CommentCreated(created) => self.comment_created(event, created),
            Kind::CommentUpdated(updated) => {
                let body = content::open(updated.body.as_ref())?.into();
                self.add_revision(event, updated.revision, body)
            }
            Kind::CommentDeleted(_) => {
                self.comment(event)?.deleted = true;
                Ok(())
            }
            Kind::RevisionDecided(decided) => self.decided(event, decided),
            Kind::PolicySet(_) => Ok(()),
        }
    }

    fn post(&mut self, event: &Event) -> Result<&mut Post, FoldError> {
        let id = post_id(event)?;
        let row = self.posts.entry(id).or_insert_with(|| Row::new(Post::unknown(id)));
        Ok(row.change())
    }

    fn post_created(
        &mut self,
        event: &Event,
        created: &event::PostCreated,
    ) -> Result<(), FoldError> {
        let author = author(created.author.as_ref())?;
        let title = content::open(created.title.as_ref())?.to_owned();
        let body = content::open(created.body.as_ref())?.to_owned();
        let create_time = time(created.create_time.as_ref())?;
        let post = self.post(event)?;
        post.known = true;
        post.site = event.site.to_string();
        post.external_key = Some(created.external_key.clone()).filter(|key| !key.is_empty());
        (post.title, post.body, post.author) = (title, body, author);
        post.revision = 1;
        (post.create_time, post.update_time) = (create_time, event.time);
        Ok(())
    }

    fn post_state(&mut self, event: &Event, state: PostState) -> Result<(), FoldError> {
        let post = self.post(event)?;
        post.state = state;
        post.update_time = event.time;
        Ok(())
    }

    fn comment(&mut self, event: &Event) -> Result<&mut Comment, FoldError> {
        let id = aggregate(event)?;
        let post_id = post_id(event)?;
        let row =
            self.comments.entry(id).or_insert_with(|| Row::new(Comment::unknown(id, post_id, 1)));
        Ok(row.change())
    }

    fn comment_created(
        &mut self,
        event: &Event,
        created: &event::CommentCreated,
    ) -> Result<(), FoldError> {
        let author = author(created.author.as_ref())?;
        let create_time = time(created.create_time.as_ref())?;
        let body = content::open(created.body.as_ref())?.into();
        let parent_id = match created.parent_id.as_ref() {
            [] => None,
            id => Some(CommentId::from_slice(id)?),
        };
        let comment = self.comment(event)?;
        comment.known = true;
        comment.parent_id = parent_id;
        comment.depth = created.depth;
        comment.author = author;
        comment.create_time = create_time;
        self.add_revision(event, 1, body)
    }

    fn add_revision(
        &mut self,
        event: &Event,
        number: u32,
        body: Arc<str>,
    ) -> Result<(), FoldError> {
        let id = RevisionId::from(event.id);
        let early = self.early.get_mut(&id).and_then(Option::take);
        let revision = Revision {
            number,
            id,
            time: event.time,
            decision: early.map_or(Decision::Unspecified, |early| early.decision),
            decided_by: early.map_or(Sequence::ZERO, |early| early.decided_by),
            body: Some(body),
            changed: true,
        };
        self.comment(event)?.add(revision);
        Ok(())
    }

    fn decided(
        &mut self,
        event: &Event,
        decided: &event::RevisionDecided,
    ) -> Result<(), FoldError> {
        let revision_id = RevisionId::from_slice(&decided.revision_id)?;
        let decision = decided.decision();
        if decision == Decision::Approved {
            let post = self.post(event)?;
            post.approve_time = post.approve_time.max(Some(event.time));
        }
        // Joined by the id of the event that made the revision, never by its number.
        let comment = self.comments.get_mut(&aggregate(event)?);
        let found = comment.and_then(|row| {
            let changed = &mut row.changed;
            let mut revisions = row.now.revisions.iter_mut();
            failpoint!(DecisionOnTheNewestRevision => return Some((revisions.last()?, changed)));
            let revision = revisions.find(|revision| revision.id == revision_id)?;
            Some((revision, changed))
        });
        let Some((revision, changed)) = found else {
            let early = self.early.entry(revision_id).or_default();
            let newest = Early { decision, decided_by: event.sequence };
            *early = early.filter(|early| early.decided_by > newest.decided_by).or(Some(newest));
            return Ok(());
        };
        if event.sequence > revision.decided_by {
            *changed = true;
            revision.decision = decision;
            revision.decided_by = event.sequence;
            revision.changed = true;
        }
        Ok(())
    }

    /// How deep the deepest changed comment is.
    pub fn deepest(&self) -> u32 {
        let changed = self.comments.values().filter(|row| row.changed);
        changed.map(|row| row.now.depth).max().unwrap_or_default()
    }

    /// The parents and posts that changed comments of this depth count for, and that
    /// are not here yet.
    pub fn missing(&self, depth: u32) -> (Vec<CommentId>, Vec<PostId>) {
        let (mut comments, mut posts) = (HashSet::new(), HashSet::new());
        for (parent, post_id, _) in self.differences(depth) {
            match parent {
                Some(parent) if !self.comments.contains_key(&parent) => {
                    comments.insert(parent);
                }
                None if !self.posts.contains_key(&post_id) => {
                    posts.insert(post_id);
                }
                _ => {}
            }
        }
        (comments.into_iter().collect(), posts.into_iter().collect())
    }

    /// Gives what changed comments of this depth count to what they reply to. From the
    /// deepest to depth 1, this makes every count right again, in at most 64 steps.
    pub fn settle(&mut self, depth: u32) {
        let differences: Vec<_> = self.differences(depth).collect();
        for (parent, post_id, difference) in differences {
            match parent {
                Some(id) => {
                    let row = self
                        .comments
                        .entry(id)
                        .or_insert_with(|| Row::new(Comment::unknown(id, post_id, depth - 1)));
                    row.change().replies += difference;
                }
                None => {
                    let row = self
                        .posts
                        .entry(post_id)
                        .or_insert_with(|| Row::new(Post::unknown(post_id)));
                    row.change().comments += difference;
                }
            }
        }
        for row in self.comments.values_mut().filter(|row| row.now.depth == depth) {
            row.counted = row.now.visible();
        }
    }

    /// By how much what comments of this depth count has changed, and for whom.
    fn differences(&self, depth: u32) -> impl Iterator<Item = (Option<CommentId>, PostId, i64)> {
        let mut differences: BTreeMap<(Option<CommentId>, PostId), i64> = BTreeMap::new();
        let changed = self.comments.values().filter(|row| row.changed && row.now.depth == depth);
        for row in changed {
            let difference = row.now.visible() - row.counted;
            if difference != 0 {
                let key = (row.now.parent_id, row.now.post_id);
                *differences.entry(key).or_default() += difference;
            }
        }
        differences.into_iter().map(|((parent, post), difference)| (parent, post, difference))
    }
}

fn post_id(event: &Event) -> Result<PostId, FoldError> {
    event.post_id.ok_or(FoldError::Missing("post_id"))
}

fn aggregate(event: &Event) -> Result<CommentId, FoldError> {
    event.aggregate.map(CommentId::from).ok_or(FoldError::Missing("aggregate_id"))
}

fn author(author: Option<&event::Author>) -> Result<Author, FoldError> {
    Ok(content::author(author.ok_or(FoldError::Missing("author"))?)?)
}

fn time(timestamp: Option<&prost_types::Timestamp>) -> Result<Time, FoldError> {
    Ok(Time::try_from(timestamp.ok_or(FoldError::Missing("create_time"))?)?)
}
