use bus_schema::{CommentId, RevisionId, Site, Time};
use chassis::rows::signed;
use sqlx::SqlitePool;

use super::super::{Case, Context, Cursor, Read, Revision, rows};
use crate::domain::SetPolicy;

macro_rules! select_case {
    ($rest:literal) => {
        concat!(
            "SELECT c.*, r.revision_id, r.body, r.time AS revision_time, \
             d.decision_id, d.decider, d.time, d.record \
             FROM comment c JOIN revision r USING (comment_id, revision) \
             LEFT JOIN decision d ON d.revision_id = r.revision_id AND d.sequence = (\
                 SELECT max(sequence) FROM decision n WHERE n.revision_id = r.revision_id\
             ) WHERE ",
            $rest
        )
    };
}

/// Reads cases and policies from SQLite.
#[derive(Clone)]
pub struct Reader {
    pub(super) pool: SqlitePool,
}

impl Reader {
    async fn revisions(&self, id: CommentId) -> Result<Vec<Revision>, sqlx::Error> {
        let rows: Vec<rows::Text> = sqlx::query_as(
            "SELECT revision, revision_id, body, time AS revision_time FROM revision \
             WHERE comment_id = ? ORDER BY revision",
        )
        .bind(id.as_bytes().as_slice())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Revision::try_from).collect()
    }
}

impl Read for Reader {
    async fn policy(
        &self,
        site: &Site,
        version: Option<u32>,
    ) -> Result<Option<SetPolicy>, sqlx::Error> {
        let row = sqlx::query_as(
            "SELECT version, record, set_by, time FROM policy \
             WHERE site = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1",
        )
        .bind(site.as_str())
        .bind(version.map(signed))
        .fetch_optional(&self.pool)
        .await?;
        rows::policy(row, version)
    }

    async fn case(&self, site: &Site, id: CommentId) -> Result<Option<Case>, sqlx::Error> {
        let row: Option<rows::CaseRow> =
            sqlx::query_as(select_case!("c.comment_id = ? AND c.site = ?"))
                .bind(id.as_bytes().as_slice())
                .bind(site.as_str())
                .fetch_optional(&self.pool)
                .await?;
        row.map(Case::try_from).transpose()
    }

    async fn cases(
        &self,
        site: &Site,
        open: bool,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<Case>, sqlx::Error> {
        let after = after.unwrap_or(Cursor::START);
        let rows: Vec<rows::CaseRow> = sqlx::query_as(select_case!(
            "c.site = ? AND c.open = ? AND c.open_time IS NOT NULL \
             AND (c.open_time, c.comment_id) > (?, ?) \
             ORDER BY c.open_time, c.comment_id LIMIT ?"
        ))
        .bind(site.as_str())
        .bind(open)
        .bind(after.open_time)
        .bind(after.comment_id.as_bytes().as_slice())
        .bind(limit as i64)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Case::try_from).collect()
    }

    async fn waiting(&self) -> Result<(u64, Option<Time>), sqlx::Error> {
        let (count, oldest): (i64, Option<i64>) = sqlx::query_as(
            "SELECT count(*), min(open_time) FROM comment WHERE open AND open_time IS NOT NULL",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((count.unsigned_abs(), oldest.map(Time::from_micros)))
    }

    async fn revision(
        &self,
        id: CommentId,
        revision_id: RevisionId,
    ) -> Result<Option<Revision>, sqlx::Error> {
        let revisions = self.revisions(id).await?;
        Ok(revisions.into_iter().find(|revision| revision.id == revision_id))
    }

    async fn context(&self, case: &Case) -> Result<Context, sqlx::Error> {
        let title = sqlx::query_scalar("SELECT title FROM post WHERE post_id = ?")
            .bind(case.post_id.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?;
        let parent = match &case.parent_id {
            None => None,
            Some(parent) => {
                sqlx::query_as(
                    "SELECT r.body, c.author_name FROM comment c \
                     JOIN revision r USING (comment_id, revision) WHERE comment_id = ?",
                )
                .bind(parent.as_bytes().as_slice())
                .fetch_optional(&self.pool)
                .await?
            }
        };
        let decisions = sqlx::query_as(
            "SELECT d.* FROM revision r JOIN decision d USING (revision_id) \
             WHERE r.comment_id = ? ORDER BY d.sequence",
        )
        .bind(case.comment_id.as_bytes().as_slice())
        .fetch_all(&self.pool)
        .await?;
        let author = sqlx::query_as(
            "SELECT approved, rejected FROM author WHERE site = ? AND author_id = ?",
        )
        .bind(case.site.as_str())
        .bind(case.author_id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let revisions = self.revisions(case.comment_id).await?;
        rows::context(title, parent, revisions, decisions, author)
    }
}
