//! The rules of deciding: commands become events, events become state. No I/O.

mod policy;
mod settle;

use std::collections::{BTreeMap, HashMap};

use agora_proto::event::v1::{self as event, Cause, Decision};
use bus_schema::{
    CommentId, DecisionId, Event, Kind, KindName, POLICY_ACTOR, PostId, RevisionId, Sequence, Site,
    Source, Time, plain,
};
use chassis::{
    call::Origin,
    failpoint,
    fields::{Limit, Max},
};
use eventstore::domain::{ApplyError, Draft};

use crate::{
    Error,
    rules::{Judgement, Policy},
};

pub use policy::policy;
pub use settle::{Settled, Verdict, settle};

/// A reason: at most 1,000 characters.
pub const REASON: Limit =
    Limit { may_be_empty: true, max: Max::Characters(1_000), multiline: true };

/// A comment, as far as deciding needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// The site that it belongs to.
    pub site: Site,
    /// The post that it belongs to.
    pub post_id: PostId,
    /// Who wrote it.
    pub author_id: String,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Every revision by its number, with the newest decision on it.
    pub revisions: BTreeMap<u32, Revision>,
    /// What follows from the decisions, as it is kept.
    pub settled: Settled,
    /// What else its row is to hold, if it is not kept yet.
    pub new: Option<New>,
}

/// What deciding does not need of a new comment, but moderators do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct New {
    /// What it replies to.
    pub parent_id: Option<CommentId>,
    /// Its author's name.
    pub author_name: String,
    /// When it was written.
    pub create_time: Time,
}

/// A revision of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The id of the event that made it.
    pub id: RevisionId,
    /// The newest decision on it.
    pub decided: Option<Decided>,
    /// When a decision held it last, for a moderator to decide on.
    pub held: Option<Time>,
}

impl Revision {
    /// A revision without decisions.
    pub const fn new(id: RevisionId) -> Self {
        Self { id, decided: None, held: None }
    }

    /// Takes the next decision on it.
    pub fn decide(&mut self, decided: Decided) {
        if decided.decision == Decision::Pending {
            self.held = Some(decided.time);
        }
        self.decided = Some(decided);
    }
}

/// A decision on a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The id of the event that holds it.
    pub id: DecisionId,
    /// The number of that event.
    pub sequence: Sequence,
    /// What was decided.
    pub decision: Decision,
    /// Who decided it; nobody if the policy did.
    pub moderator: Option<String>,
    /// When.
    pub time: Time,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Replace a site's policy.
    SetPolicy {
        /// The site.
        site: Site,
        /// The version that the change was made on.
        version: u32,
        /// What is to hold from now on.
        policy: Policy,
    },
    /// Decide on a revision.
    Decide {
        /// The comment.
        comment_id: CommentId,
        /// Its revision.
        revision_id: RevisionId,
        /// APPROVED or REJECTED.
        decision: Decision,
        /// Why; may be empty.
        reason: String,
        /// The decision that this one overrules.
        replaces: Option<DecisionId>,
    },
}

/// What a command answers with.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A site's policy.
    Policy(SetPolicy),
    /// A decision.
    Decision {
        /// The comment.
        comment_id: CommentId,
        /// The decision, as its event holds it.
        record: Record,
    },
}

/// A policy that was set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetPolicy {
    /// Numbered from 1; 0 is the default policy.
    pub version: u32,
    /// What holds.
    pub policy: Policy,
    /// Who set it; empty for the default policy.
    pub set_by: String,
    /// When; absent for the default policy.
    pub time: Option<Time>,
}

/// A decision, as its event holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The id of the event.
    pub id: DecisionId,
    /// Who caused it.
    pub decider: String,
    /// When.
    pub time: Time,
    /// What was decided, on which revision, and why.
    pub decided: event::RevisionDecided,
}

/// The comments, authors and policies that a batch touches.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// By id. A comment that decisions name and that was not heard of yet is absent.
    pub comments: HashMap<CommentId, Comment>,
    /// The newest version of each site's policy.
    pub policies: HashMap<Site, u32>,
}

/// The domain of the moderation service.
pub struct Moderation;

impl eventstore::Domain for Moderation {
    const SOURCE: Source = Source::Moderation;
    const CONSUMES: &'static [Source] = &[Source::Post, Source::Comment];
    type Command = Command;
    type State = State;
    type Reply = Reply;
    type Error = Error;

    fn decide(
        state: &State,
        origin: &Origin,
        command: &Command,
        _now: Time,
    ) -> Result<Vec<Draft>, Error> {
        let site = origin.site.clone();
        let actor = origin.actor.clone();
        Ok(vec![match command {
            Command::SetPolicy { version, policy, .. } => {
                let current = state.policies.get(&site).copied().unwrap_or_default();
                if *version != current {
                    return Err(Error::StalePolicy { current });
                }
                let kind = Kind::PolicySet(policy::set(current + 1, policy));
                Draft { site, post_id: None, aggregate: None, actor, kind }
            }
            Command::Decide { comment_id, revision_id, decision, reason, replaces } => {
                let comment = state.comments.get(comment_id);
                let comment =
                    comment.filter(|comment| comment.site == site).ok_or(Error::CaseNotFound)?;
                let (number, before) = may_decide(comment, *revision_id, *replaces)?;
                let decided = event::RevisionDecided {
                    revision_id: revision_id.to_bytes(),
                    revision: number,
                    decision: (*decision).into(),
                    cause: Cause::Moderator.into(),
                    reason: Some(plain(reason)),
                    policy_version: state.policies.get(&site).copied().unwrap_or_default(),
                    hits: Vec::new(),
                    replaces: before.id.to_bytes(),
                };
                draft(comment, actor, decided)
            }
        }])
    }

    fn makes(command: &Command) -> KindName {
        match command {
            Command::SetPolicy { .. } => KindName::PolicySet,
            Command::Decide { .. } => KindName::RevisionDecided,
        }
    }

    fn apply(state: &mut State, event: &Event) -> Result<(), ApplyError> {
        match &event.kind {
            Kind::PolicySet(set) => {
                state.policies.insert(event.site.clone(), set.version);
            }
            Kind::RevisionDecided(decided) => {
                let id = event.aggregate.ok_or("a decision without its comment")?;
                // A decision may come before its comment, where a journal is imported.
                if let Some(comment) = state.comments.get_mut(&id.into()) {
                    let revision_id = RevisionId::from_slice(&decided.revision_id)?;
                    let mut revisions = comment.revisions.values_mut();
                    if let Some(revision) = revisions.find(|revision| revision.id == revision_id) {
                        revision.decide(newest(event, decided));
                    }
                }
            }
            Kind::PostCreated(_)
            | Kind::PostUpdated(_)
            | Kind::PostDeleted(_)
            | Kind::PostClosed(_)
            | Kind::PostReopened(_)
            | Kind::CommentCreated(_)
            | Kind::CommentUpdated(_)
            | Kind::CommentDeleted(_) => return Err("an event of another source".into()),
        }
        Ok(())
    }

    fn reply(_state: &State, event: &Event) -> Result<Reply, ApplyError> {
        Ok(match &event.kind {
            Kind::PolicySet(set) => Reply::Policy(SetPolicy {
                version: set.version,
                policy: policy(set)?,
                set_by: event.actor.clone(),
                time: Some(event.time),
            }),
            Kind::RevisionDecided(decided) => {
                let id = event.aggregate.ok_or("a decision without its comment")?;
                let record = Record {
                    id: event.id.into(),
                    decider: event.actor.clone(),
                    time: event.time,
                    decided: decided.clone(),
                };
                Reply::Decision { comment_id: id.into(), record }
            }
            Kind::PostCreated(_)
            | Kind::PostUpdated(_)
            | Kind::PostDeleted(_)
            | Kind::PostClosed(_)
            | Kind::PostReopened(_)
            | Kind::CommentCreated(_)
            | Kind::CommentUpdated(_)
            | Kind::CommentDeleted(_) => return Err("an event of another source".into()),
        })
    }

    fn counted_as(event: &Event) -> &'static str {
        let Some(decided) = event.decision() else {
            return KindName::of(&event.kind).as_str();
        };
        match (decided.decision(), decided.cause()) {
            (Decision::Approved, Cause::Moderator) => "approved_by_moderator",
            (Decision::Approved, Cause::Policy | Cause::Unspecified) => "approved_by_policy",
            (Decision::Rejected, Cause::Moderator) => "rejected_by_moderator",
            (Decision::Rejected, Cause::Policy | Cause::Unspecified) => "rejected_by_policy",
            (Decision::Pending | Decision::Unspecified, _) => "held",
        }
    }
}

/// Whether a person may decide on a revision: its number, and the decision before.
fn may_decide(
    comment: &Comment,
    revision_id: RevisionId,
    replaces: Option<DecisionId>,
) -> Result<(u32, &Decided), Error> {
    let mut revisions = comment.revisions.iter();
    let (number, revision) = revisions
        .find(|(_, revision)| revision.id == revision_id)
        .ok_or(Error::RevisionNotFound)?;
    if comment.deleted {
        return Err(Error::CommentDeleted);
    }
    if let Some((newest, current)) = comment.revisions.last_key_value()
        && newest != number
    {
        return Err(Error::StaleRevision { current: *newest, current_id: current.id });
    }
    let before = revision.decided.as_ref().ok_or(Error::CaseNotFound)?;
    // A policy's decision gives way without being named; a person's does not.
    let may_replace = match replaces {
        Some(id) => id == before.id,
        None => before.moderator.is_none() || failpoint!(BothDecisionsWin),
    };
    if may_replace {
        return Ok((*number, before));
    }
    Err(Error::AlreadyDecided {
        decision: public(before.decision),
        decider: before.moderator.clone().unwrap_or_else(|| POLICY_ACTOR.into()),
        decision_id: before.id,
    })
}

/// A decision in the words of the API.
pub(crate) fn public(decision: Decision) -> agora_proto::moderation::v1::Decision {
    use agora_proto::moderation::v1::Decision as Public;

    match decision {
        Decision::Unspecified => Public::Unspecified,
        Decision::Pending => Public::Pending,
        Decision::Approved => Public::Approved,
        Decision::Rejected => Public::Rejected,
    }
}

/// The decision that an event holds.
fn newest(event: &Event, decided: &event::RevisionDecided) -> Decided {
    let moderator = (decided.cause() == Cause::Moderator).then(|| event.actor.clone());
    Decided {
        id: event.id.into(),
        sequence: event.sequence,
        decision: decided.decision(),
        moderator,
        time: event.time,
    }
}

fn draft(comment: &Comment, actor: String, decided: event::RevisionDecided) -> Draft {
    Draft {
        site: comment.site.clone(),
        post_id: Some(comment.post_id),
        aggregate: Some(comment.id.uuid()),
        actor,
        kind: Kind::RevisionDecided(decided),
    }
}

/// The decision that a policy makes on the revision which an event has made.
pub fn judged(event: &Event, number: u32, version: u32, judgement: Judgement) -> Draft {
    let hits = judgement
        .hits
        .into_iter()
        .map(|hit| event::RuleHit { rule: hit.rule.into(), detail: Some(plain(&hit.detail)) });
    let decided = event::RevisionDecided {
        revision_id: event.id.to_bytes(),
        revision: number,
        decision: judgement.decision.into(),
        cause: Cause::Policy.into(),
        reason: None,
        policy_version: version,
        hits: hits.collect(),
        replaces: bytes::Bytes::new(),
    };
    Draft {
        site: event.site.clone(),
        post_id: event.post_id,
        aggregate: event.aggregate,
        actor: POLICY_ACTOR.to_owned(),
        kind: Kind::RevisionDecided(decided),
    }
}
