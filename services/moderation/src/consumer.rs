//! What the moderation service does with others' events: it keeps what they said, and
//! has every revision judged once, by the policy in force.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use agora_proto::event::v1::Decision;
use bus_schema::{CommentId, Event, Kind, PostId, RevisionId, Site, Time};
use chassis::content;
use eventstore::domain::{ApplyError, Caused};

use crate::{
    domain::{self, Comment, Decided, New, Settled, judged},
    rules::{Compiled, Facts, TextHash, text_hash},
};

/// How many sightings of a text are kept.
const MAX_SIGHTINGS: usize = 100;

/// What a batch of comment events says.
#[derive(Debug, Default)]
pub(crate) struct Said<'e> {
    /// The comments that were created.
    pub(crate) created: Vec<Created<'e>>,
    /// Every revision that was made, in order.
    pub(crate) revisions: Vec<Revision<'e>>,
    /// The newest revision of each comment that was updated.
    pub(crate) updated: BTreeMap<CommentId, u32>,
    /// The comments that were deleted.
    pub(crate) deleted: Vec<CommentId>,
}

/// A new comment.
#[derive(Debug)]
pub(crate) struct Created<'e> {
    pub(crate) id: CommentId,
    pub(crate) post_id: PostId,
    pub(crate) parent_id: Option<CommentId>,
    pub(crate) site: &'e Site,
    pub(crate) author_id: &'e str,
    pub(crate) author_name: &'e str,
    pub(crate) create_time: Time,
}

/// A new revision, and the event that made it.
#[derive(Debug)]
pub(crate) struct Revision<'e> {
    pub(crate) comment_id: CommentId,
    pub(crate) number: u32,
    pub(crate) body: &'e str,
    pub(crate) event: &'e Event,
}

impl Revision<'_> {
    /// The id that decisions name it by.
    pub(crate) fn id(&self) -> RevisionId {
        self.event.id.into()
    }
}

impl<'e> Said<'e> {
    /// Reads events of the comment service, in their order.
    pub(crate) fn read(events: &'e [Event]) -> Result<Self, ApplyError> {
        let mut said = Self::default();
        for event in events {
            let id = event.aggregate.ok_or("an event of a comment without its id")?.into();
            let (number, body) = match &event.kind {
                Kind::CommentCreated(created) => {
                    said.created.push(new_comment(id, event, created)?);
                    (1, created.body.as_ref())
                }
                Kind::CommentUpdated(updated) => {
                    said.updated.insert(id, updated.revision);
                    (updated.revision, updated.body.as_ref())
                }
                Kind::CommentDeleted(_) => {
                    said.deleted.push(id);
                    continue;
                }
                Kind::PostCreated(_)
                | Kind::PostUpdated(_)
                | Kind::PostDeleted(_)
                | Kind::PostClosed(_)
                | Kind::PostReopened(_)
                | Kind::PolicySet(_)
                | Kind::RevisionDecided(_) => return Err("an event of another source".into()),
            };
            let body = content::open(body)?;
            said.revisions.push(Revision { comment_id: id, number, body, event });
        }
        Ok(said)
    }
}

impl Said<'_> {
    /// The comments that were created, with all that the batch says of them and with the
    /// decisions that their revisions have already.
    pub(crate) fn comments(
        &self,
        decided: &HashMap<RevisionId, Vec<Decided>>,
    ) -> HashMap<CommentId, Comment> {
        let new = |created: &Created<'_>| Comment {
            id: created.id,
            site: created.site.clone(),
            post_id: created.post_id,
            author_id: created.author_id.to_owned(),
            deleted: false,
            revisions: BTreeMap::new(),
            settled: Settled::default(),
            new: Some(New {
                parent_id: created.parent_id,
                author_name: created.author_name.to_owned(),
                create_time: created.create_time,
            }),
        };
        let mut comments: HashMap<CommentId, Comment> =
            self.created.iter().map(|created| (created.id, new(created))).collect();
        for revision in &self.revisions {
            if let Some(comment) = comments.get_mut(&revision.comment_id) {
                let mut kept = domain::Revision::new(revision.id());
                for decided in decided.get(&kept.id).into_iter().flatten() {
                    kept.decide(decided.clone());
                }
                comment.revisions.insert(revision.number, kept);
            }
        }
        for id in &self.deleted {
            if let Some(comment) = comments.get_mut(id) {
                comment.deleted = true;
            }
        }
        comments
    }
}

fn new_comment<'e>(
    id: CommentId,
    event: &'e Event,
    created: &'e agora_proto::event::v1::CommentCreated,
) -> Result<Created<'e>, ApplyError> {
    let author = created.author.as_ref().ok_or("a comment without its author")?;
    let create_time = created.create_time.as_ref().ok_or("a comment without its time")?;
    Ok(Created {
        id,
        post_id: event.post_id.ok_or("a comment without its post")?,
        parent_id: match created.parent_id.as_ref() {
            [] => None,
            id => Some(CommentId::from_slice(id)?),
        },
        site: &event.site,
        author_id: &author.id,
        author_name: content::open(author.name.as_ref())?,
        create_time: Time::try_from(create_time)?,
    })
}

/// A site's policy, ready to judge.
#[derive(Clone)]
pub(crate) struct InForce {
    pub(crate) version: u32,
    pub(crate) compiled: Arc<Compiled>,
}

/// What judging a batch needs to know. It is carried on from revision to revision.
#[derive(Default)]
pub(crate) struct Known {
    /// The policy of each site of the batch.
    pub(crate) policies: HashMap<Site, InForce>,
    /// How many comments of an author were approved, where a policy asks.
    pub(crate) approved: HashMap<(Site, String), u64>,
    /// When a site saw a text, where a policy asks; the oldest first.
    pub(crate) sightings: HashMap<(Site, TextHash), Vec<Time>>,
}

impl Known {
    /// Judges every revision of these comments that has no decision yet. It has one if
    /// the journal was imported.
    pub(crate) fn judge(
        &mut self,
        said: &Said<'_>,
        comments: &HashMap<CommentId, Comment>,
    ) -> Result<Vec<Caused>, ApplyError> {
        let mut caused = Vec::with_capacity(said.revisions.len());
        for revision in &said.revisions {
            let site = &revision.event.site;
            let InForce { version, compiled } =
                self.policies.get(site).cloned().ok_or("a site without its policy")?;
            let comment =
                comments.get(&revision.comment_id).ok_or("a revision of an unknown comment")?;
            let author = &comment.author_id;
            let seen = self.sightings.get_mut(&(site.clone(), hash_for(&compiled, revision.body)));
            let text_seen = seen.map_or(0, |times| see(times, &compiled, revision.event.time));
            let kept = comment.revisions.get(&revision.number);
            if kept.is_some_and(|kept| kept.decided.is_some()) {
                continue;
            }
            let key = (site.clone(), author.clone());
            let approved = self.approved.get(&key).copied().unwrap_or_default();
            let facts = Facts { author_id: author, author_approved: approved, text_seen };
            let judgement = compiled.judge(revision.body, facts);
            if judgement.decision == Decision::Approved && revision.number == 1 {
                self.approved.entry(key).and_modify(|approved| *approved += 1);
            }
            caused.push(Caused {
                draft: judged(revision.event, revision.number, version, judgement),
                traceparent: revision.event.traceparent.clone(),
            });
        }
        Ok(caused)
    }
}

/// The hash by which a text is looked up; of no use to a policy that does not look for
/// repeated texts.
pub(crate) fn hash_for(compiled: &Compiled, text: &str) -> TextHash {
    match compiled.policy().repeated_text {
        Some(_) => text_hash(text),
        None => TextHash::default(),
    }
}

/// Notes that a text is seen, and returns how often it was within the window before.
fn see(times: &mut Vec<Time>, compiled: &Compiled, now: Time) -> usize {
    let window = compiled.policy().repeated_text.map_or_else(Default::default, |r| r.window);
    let since = now.before(window);
    let seen = times.iter().filter(|time| **time >= since).count();
    times.push(now);
    if times.len() > MAX_SIGHTINGS {
        times.remove(0);
    }
    seen
}
