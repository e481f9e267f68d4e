use std::collections::{BTreeMap, HashMap};

use agora_proto::event::v1::{Cause, RevisionDecided};
use bus_schema::{CommentId, DecisionId, RevisionId, Sequence, Site, Time};
use chassis::bulk::Statement;
use prost::Message as _;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use crate::domain::{Comment, Decided, Record, Revision, Settled, Verdict};

static COMMENTS: Statement = Statement::new(
    "SELECT comment_id, site, post_id, author_id, deleted, verdict, open, open_time \
     FROM comment WHERE comment_id IN (",
    "?",
    ")",
);
static REVISIONS: Statement = Statement::new(
    "SELECT r.comment_id, r.revision, r.revision_id, \
     d.sequence, d.decision_id, d.decider, d.time, d.record \
     FROM revision r LEFT JOIN decision d USING (revision_id) WHERE r.comment_id IN (",
    "?",
    ") ORDER BY r.comment_id, r.revision, d.sequence",
);
static VERSIONS: Statement = Statement::new(
    "SELECT site, max(version) AS version FROM policy WHERE site IN (",
    "?",
    ") GROUP BY site",
);

/// Comments with their revisions and what was decided on each.
pub(super) async fn load_comments(
    connection: &mut SqliteConnection,
    ids: &[CommentId],
) -> Result<HashMap<CommentId, Comment>, sqlx::Error> {
    let rows =
        COMMENTS.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    let mut comments = HashMap::with_capacity(rows.len());
    for row in &rows {
        let comment = comment(row)?;
        comments.insert(comment.id, comment);
    }
    let known: Vec<CommentId> = comments.keys().copied().collect();
    let rows = REVISIONS
        .fetch(connection, &known, |query, id| query.bind(id.as_bytes().as_slice()))
        .await?;
    for row in &rows {
        let id = CommentId::from(uuid(row, "comment_id")?);
        let Some(comment) = comments.get_mut(&id) else { continue };
        let revision_id = RevisionId::from(uuid(row, "revision_id")?);
        let revision = comment.revisions.entry(row.try_get("revision")?);
        let revision = revision.or_insert_with(|| Revision::new(revision_id));
        let sequence: Option<i64> = row.try_get("sequence")?;
        if sequence.is_some() {
            revision.decide(decided(row)?);
        }
    }
    Ok(comments)
}

/// The newest version of each site's policy.
pub(super) async fn load_versions(
    connection: &mut SqliteConnection,
    sites: &[Site],
) -> Result<HashMap<Site, u32>, sqlx::Error> {
    let rows = VERSIONS.fetch(connection, sites, |query, site| query.bind(site.as_str())).await?;
    rows.iter().map(|row| Ok((site(row)?, row.try_get("version")?))).collect()
}

fn comment(row: &SqliteRow) -> Result<Comment, sqlx::Error> {
    let verdict = match row.try_get("verdict")? {
        None => None,
        Some(2) => Some(Verdict::Approved),
        Some(3) => Some(Verdict::Rejected),
        Some(other) => return Err(invalid("verdict", format!("{other} is no verdict"))),
    };
    let open_time: Option<i64> = row.try_get("open_time")?;
    Ok(Comment {
        id: uuid(row, "comment_id")?.into(),
        site: site(row)?,
        post_id: uuid(row, "post_id")?.into(),
        author_id: row.try_get("author_id")?,
        deleted: row.try_get("deleted")?,
        revisions: BTreeMap::new(),
        settled: Settled {
            verdict,
            open: row.try_get("open")?,
            open_time: open_time.map(Time::from_micros),
        },
        new: None,
    })
}

/// What deciding needs of a decision, from the columns of its table.
pub(super) fn decided(row: &SqliteRow) -> Result<Decided, sqlx::Error> {
    let Record { id, decider, time, decided } = record(row)?;
    Ok(Decided {
        id,
        sequence: Sequence::from_i64(row.try_get("sequence")?),
        decision: decided.decision(),
        moderator: (decided.cause() == Cause::Moderator).then_some(decider),
        time,
    })
}

/// A decision, from the columns of its table.
pub(super) fn record(row: &SqliteRow) -> Result<Record, sqlx::Error> {
    let record: &[u8] = row.try_get("record")?;
    Ok(Record {
        id: DecisionId::from(uuid(row, "decision_id")?),
        decider: row.try_get("decider")?,
        time: Time::from_micros(row.try_get("time")?),
        decided: RevisionDecided::decode(record).map_err(|error| invalid("record", error))?,
    })
}

pub(super) fn uuid(row: &SqliteRow, column: &str) -> Result<Uuid, sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    Uuid::from_slice(bytes).map_err(|error| invalid(column, error))
}

pub(super) fn site(row: &SqliteRow) -> Result<Site, sqlx::Error> {
    let text: &str = row.try_get("site")?;
    text.parse().map_err(|error| invalid("site", error))
}

pub(super) fn invalid(
    column: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() }
}
