//! What rows hold, in every database.

use std::collections::{BTreeMap, HashMap};

use agora_proto::event::v1::{Cause, PolicySet, RevisionDecided};
use bus_schema::{CommentId, RevisionId, Sequence, Time};
use eventstore::database::rows::{invalid, parse, unsigned};
use prost::Message as _;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Case, Context};
use crate::{
    domain::{self, Decided, Record, SetPolicy, Settled, Verdict},
    rules,
};

/// A comment, without its revisions.
#[derive(FromRow)]
pub(super) struct Comment {
    comment_id: Uuid,
    site: String,
    post_id: Uuid,
    author_id: String,
    deleted: bool,
    verdict: Option<i32>,
    open: bool,
    open_time: Option<i64>,
}

/// A revision with one of the decisions on it, if there is any.
#[derive(FromRow)]
pub(super) struct Revision {
    comment_id: Uuid,
    revision: i32,
    revision_id: Uuid,
    sequence: Option<i64>,
    decision_id: Option<Uuid>,
    decider: Option<String>,
    time: Option<i64>,
    record: Option<Vec<u8>>,
}

/// A decision.
#[derive(FromRow)]
pub(super) struct Decision {
    pub(super) revision_id: Uuid,
    sequence: i64,
    decision_id: Uuid,
    decider: String,
    time: i64,
    record: Vec<u8>,
}

/// A policy.
#[derive(FromRow)]
pub(super) struct Policy {
    version: i32,
    record: Vec<u8>,
    set_by: String,
    time: i64,
}

/// The newest version of a site's policy.
#[derive(FromRow)]
pub(super) struct Version {
    pub(super) site: String,
    pub(super) version: i32,
    /// When it was set: after a fork another policy may have the same number.
    pub(super) time: i64,
}

/// How many comments of an author were approved.
#[derive(FromRow)]
pub(super) struct Approved {
    pub(super) site: String,
    pub(super) author_id: String,
    pub(super) approved: i32,
}

/// When a site saw a text.
#[derive(FromRow)]
pub(super) struct Sighting {
    pub(super) site: String,
    pub(super) text_hash: Vec<u8>,
    pub(super) times: Vec<u8>,
}

/// A case with its newest revision and the newest decision on that.
#[derive(FromRow)]
pub(super) struct CaseRow {
    #[sqlx(flatten)]
    comment: Comment,
    parent_id: Option<Uuid>,
    author_name: String,
    create_time: i64,
    #[sqlx(flatten)]
    text: Text,
    decision_id: Option<Uuid>,
    decider: Option<String>,
    time: Option<i64>,
    record: Option<Vec<u8>>,
}

/// A revision with its text.
#[derive(FromRow)]
pub(super) struct Text {
    revision: i32,
    revision_id: Uuid,
    body: String,
    revision_time: i64,
}

/// Comments with their revisions and what was decided on each. The revisions come in the
/// order of the decisions.
pub(super) fn comments(
    comments: Vec<Comment>,
    revisions: Vec<Revision>,
) -> Result<HashMap<CommentId, domain::Comment>, sqlx::Error> {
    let mut found = HashMap::with_capacity(comments.len());
    for row in comments {
        let comment = domain::Comment::try_from(row)?;
        found.insert(comment.id, comment);
    }
    for row in revisions {
        let Some(comment) = found.get_mut(&row.comment_id.into()) else { continue };
        let number = unsigned("revision", row.revision)?;
        let revision_id = RevisionId::from(row.revision_id);
        let revision = comment.revisions.entry(number);
        let revision = revision.or_insert_with(|| domain::Revision::new(revision_id));
        let record = record(row.decision_id, row.decider, row.time, row.record)?;
        if let (Some(sequence), Some(record)) = (row.sequence, record) {
            revision.decide(decided(sequence, record));
        }
    }
    Ok(found)
}

/// What is seen in the columns of a decision, if there is one.
fn record(
    id: Option<Uuid>,
    decider: Option<String>,
    time: Option<i64>,
    record: Option<Vec<u8>>,
) -> Result<Option<Record>, sqlx::Error> {
    let (Some(id), Some(decider), Some(time), Some(record)) = (id, decider, time, record) else {
        return Ok(None);
    };
    let decided = RevisionDecided::decode(record.as_slice());
    let decided = decided.map_err(|error| invalid("record", error))?;
    Ok(Some(Record { id: id.into(), decider, time: Time::from_micros(time), decided }))
}

/// What deciding needs of a decision.
fn decided(sequence: i64, record: Record) -> Decided {
    let Record { id, decider, time, decided } = record;
    Decided {
        id,
        sequence: Sequence::from_i64(sequence),
        decision: decided.decision(),
        moderator: (decided.cause() == Cause::Moderator).then_some(decider),
        time,
    }
}

impl TryFrom<Comment> for domain::Comment {
    type Error = sqlx::Error;

    fn try_from(row: Comment) -> Result<Self, sqlx::Error> {
        let verdict = match row.verdict {
            None => None,
            Some(2) => Some(Verdict::Approved),
            Some(3) => Some(Verdict::Rejected),
            Some(other) => return Err(invalid("verdict", format!("{other} is no verdict"))),
        };
        Ok(Self {
            id: row.comment_id.into(),
            site: parse("site", &row.site)?,
            post_id: row.post_id.into(),
            author_id: row.author_id,
            deleted: row.deleted,
            revisions: BTreeMap::new(),
            settled: Settled {
                verdict,
                open: row.open,
                open_time: row.open_time.map(Time::from_micros),
            },
            new: None,
        })
    }
}

impl TryFrom<Decision> for Record {
    type Error = sqlx::Error;

    fn try_from(row: Decision) -> Result<Self, sqlx::Error> {
        let decided = RevisionDecided::decode(row.record.as_slice());
        Ok(Self {
            id: row.decision_id.into(),
            decider: row.decider,
            time: Time::from_micros(row.time),
            decided: decided.map_err(|error| invalid("record", error))?,
        })
    }
}

impl TryFrom<Decision> for Decided {
    type Error = sqlx::Error;

    fn try_from(row: Decision) -> Result<Self, sqlx::Error> {
        let sequence = row.sequence;
        Ok(decided(sequence, row.try_into()?))
    }
}

impl TryFrom<Policy> for SetPolicy {
    type Error = sqlx::Error;

    fn try_from(row: Policy) -> Result<Self, sqlx::Error> {
        let set = PolicySet::decode(row.record.as_slice());
        let set = set.map_err(|error| invalid("record", error))?;
        Ok(Self {
            version: unsigned("version", row.version)?,
            policy: domain::policy(&set).map_err(|error| invalid("record", error))?,
            set_by: row.set_by,
            time: Some(Time::from_micros(row.time)),
        })
    }
}

/// The policy of a site: the default one if none was set and none of a version is wanted.
pub(super) fn policy(
    row: Option<Policy>,
    version: Option<u32>,
) -> Result<Option<SetPolicy>, sqlx::Error> {
    let default = || SetPolicy {
        version: 0,
        policy: rules::Policy::default(),
        set_by: String::new(),
        time: None,
    };
    match row {
        Some(row) => row.try_into().map(Some),
        None => Ok(version.is_none().then(default)),
    }
}

impl TryFrom<Text> for super::Revision {
    type Error = sqlx::Error;

    fn try_from(row: Text) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.revision_id.into(),
            number: unsigned("revision", row.revision)?,
            body: row.body,
            time: Time::from_micros(row.revision_time),
        })
    }
}

impl TryFrom<CaseRow> for Case {
    type Error = sqlx::Error;

    fn try_from(row: CaseRow) -> Result<Self, sqlx::Error> {
        let comment = row.comment;
        Ok(Self {
            comment_id: comment.comment_id.into(),
            site: parse("site", &comment.site)?,
            post_id: comment.post_id.into(),
            parent_id: row.parent_id.map(Into::into),
            author_id: comment.author_id,
            author_name: row.author_name,
            deleted: comment.deleted,
            open: comment.open,
            create_time: Time::from_micros(row.create_time),
            open_time: comment.open_time.map(Time::from_micros),
            revision: row.text.try_into()?,
            decision: record(row.decision_id, row.decider, row.time, row.record)?,
        })
    }
}

/// What the rows around a case say.
pub(super) fn context(
    title: Option<String>,
    parent: Option<(String, String)>,
    revisions: Vec<super::Revision>,
    decisions: Vec<Decision>,
    author: Option<(i32, i32)>,
) -> Result<Context, sqlx::Error> {
    let (approved, rejected) = author.unwrap_or_default();
    Ok(Context {
        post_title: title.unwrap_or_default(),
        parent,
        revisions,
        decisions: decisions.into_iter().map(Record::try_from).collect::<Result<_, _>>()?,
        author: (unsigned("approved", approved)?, unsigned("rejected", rejected)?),
    })
}
