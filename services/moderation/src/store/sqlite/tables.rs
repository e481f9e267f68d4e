use std::collections::HashMap;

use bus_schema::{CommentId, RevisionId, Site};
use chassis::failpoint;
use eventstore::database::bulk::Statement;
use sqlx::{FromRow as _, SqliteConnection};
use uuid::Uuid;

use super::super::{
    consume::{self, SqlResult},
    rows,
};
use crate::{consumer::Said, domain::Comment, rules::TextHash};

static UPDATED: Statement = Statement::new(
    "WITH u (comment_id, revision) AS (VALUES ",
    "(?, ?)",
    ") UPDATE comment SET revision = u.revision FROM u WHERE comment.comment_id = u.comment_id",
);
static DELETED: Statement =
    Statement::new("UPDATE comment SET deleted = 1, open = 0 WHERE comment_id IN (", "?", ")");
static REVISIONS: Statement = Statement::new(
    "INSERT OR FAIL INTO revision (comment_id, revision, revision_id, body, time) VALUES ",
    "(?, ?, ?, ?, ?)",
    "",
);
static DECIDED: Statement = Statement::new(
    "SELECT revision_id, sequence, decision_id, decider, time, record \
     FROM decision WHERE revision_id IN (",
    "?",
    ") ORDER BY revision_id, sequence",
);
static APPROVED: Statement = Statement::new(
    "SELECT site, author_id, approved FROM author WHERE (site, author_id) IN (VALUES ",
    "(?, ?)",
    ")",
);
static SEEN: Statement = Statement::new(
    "SELECT site, text_hash, times FROM sighting WHERE (site, text_hash) IN (VALUES ",
    "(?, ?)",
    ")",
);
static SEE: Statement = Statement::new(
    "INSERT INTO sighting (site, text_hash, times) VALUES ",
    "(?, ?, ?)",
    " ON CONFLICT (site, text_hash) DO UPDATE SET times = excluded.times",
);

static COMMENTS: Statement = Statement::new(
    "SELECT comment_id, site, post_id, author_id, deleted, verdict, open, open_time \
     FROM comment WHERE comment_id IN (",
    "?",
    ")",
);
static HISTORY: Statement = Statement::new(
    "SELECT r.comment_id, r.revision, r.revision_id, \
     d.sequence, d.decision_id, d.decider, d.time, d.record \
     FROM revision r LEFT JOIN decision d USING (revision_id) WHERE r.comment_id IN (",
    "?",
    ") ORDER BY r.comment_id, r.revision, d.sequence",
);
/// The same, joined by the revision's number: a bug that is planted. In an encoded decision
/// the number stands behind the id and its own tag.
static HISTORY_BY_NUMBER: Statement = Statement::new(
    "SELECT r.comment_id, r.revision, r.revision_id, \
     d.sequence, d.decision_id, d.decider, d.time, d.record \
     FROM revision r LEFT JOIN decision d ON d.comment_id = r.comment_id \
     AND substr(d.record, 20, 1) = CAST(char(r.revision) AS BLOB) WHERE r.comment_id IN (",
    "?",
    ") ORDER BY r.comment_id, r.revision, d.sequence",
);
static VERSIONS: Statement = Statement::new(
    "SELECT site, max(version) AS version, max(time) AS time FROM policy WHERE site IN (",
    "?",
    ") GROUP BY site",
);

/// The tables, in a transaction.
pub(super) struct Tables<'c>(pub(super) &'c mut SqliteConnection);

impl consume::Tables for Tables<'_> {
    async fn keep(&mut self, said: &Said<'_>) -> SqlResult<()> {
        REVISIONS
            .execute(self.0, &said.revisions, |query, revision| {
                query
                    .bind(revision.comment_id.as_bytes().as_slice())
                    .bind(revision.number)
                    .bind(revision.event.id.as_bytes().as_slice())
                    .bind(revision.body)
                    .bind(revision.event.time.micros())
            })
            .await?;
        let updated: Vec<_> = said.updated.iter().collect();
        UPDATED
            .execute(self.0, &updated, |query, (id, revision)| {
                query.bind(id.as_bytes().as_slice()).bind(**revision)
            })
            .await?;
        DELETED
            .execute(self.0, &said.deleted, |query, id| query.bind(id.as_bytes().as_slice()))
            .await
    }

    async fn decisions(&mut self, revisions: &[RevisionId]) -> SqlResult<Vec<rows::Decision>> {
        let newest: Option<Uuid> = sqlx::query_scalar("SELECT max(revision_id) FROM decision")
            .fetch_one(&mut *self.0)
            .await?;
        let newest = newest.map(RevisionId::from);
        // Ids grow with time: on a revision after all that were decided there is no decision.
        let old: Vec<_> = revisions.iter().filter(|id| Some(**id) <= newest).collect();
        let found =
            DECIDED.fetch(self.0, &old, |query, id| query.bind(id.as_bytes().as_slice())).await?;
        found.iter().map(rows::Decision::from_row).collect()
    }

    async fn comments(&mut self, ids: &[CommentId]) -> SqlResult<HashMap<CommentId, Comment>> {
        let found =
            COMMENTS.fetch(self.0, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
        let comments = found.iter().map(rows::Comment::from_row).collect::<Result<_, _>>()?;
        let history = failpoint!(JoinByRevisionNumber => &HISTORY_BY_NUMBER, else &HISTORY);
        let found =
            history.fetch(self.0, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
        let revisions = found.iter().map(rows::Revision::from_row).collect::<Result<_, _>>()?;
        rows::comments(comments, revisions)
    }

    async fn versions(&mut self, sites: &[Site]) -> SqlResult<Vec<rows::Version>> {
        let found = VERSIONS.fetch(self.0, sites, |query, site| query.bind(site.as_str())).await?;
        found.iter().map(rows::Version::from_row).collect()
    }

    async fn policy(&mut self, site: &Site, version: u32) -> SqlResult<Vec<u8>> {
        sqlx::query_scalar("SELECT record FROM policy WHERE site = ? AND version = ?")
            .bind(site.as_str())
            .bind(version)
            .fetch_one(&mut *self.0)
            .await
    }

    async fn approved(&mut self, authors: &[(Site, String)]) -> SqlResult<Vec<rows::Approved>> {
        let found = APPROVED
            .fetch(self.0, authors, |query, (site, author)| {
                query.bind(site.as_str()).bind(author.as_str())
            })
            .await?;
        found.iter().map(rows::Approved::from_row).collect()
    }

    async fn seen(&mut self, texts: &[(Site, TextHash)]) -> SqlResult<Vec<rows::Sighting>> {
        let found = SEEN
            .fetch(self.0, texts, |query, (site, hash)| {
                query.bind(site.as_str()).bind(hash.as_slice())
            })
            .await?;
        found.iter().map(rows::Sighting::from_row).collect()
    }

    async fn see(&mut self, sightings: &[(&Site, &TextHash, Vec<u8>)]) -> SqlResult<()> {
        SEE.execute(self.0, sightings, |query, (site, hash, times)| {
            query.bind(site.as_str()).bind(hash.as_slice()).bind(times.as_slice())
        })
        .await
    }
}
