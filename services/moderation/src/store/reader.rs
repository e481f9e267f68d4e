//! Reading cases and policies: the same SQL on both kinds of database.

use bus_schema::{CommentId, RevisionId, Site, Time};
use eventstore::database::rows::signed;
use sqlx::{Database, Pool, Postgres, Sqlite};

use super::{Case, Context, Cursor, Read, Revision, rows};
use crate::domain::SetPolicy;

/// Cases with their newest revision and the newest decision on that.
macro_rules! select_case {
    ($rest:literal) => {
        concat!(
            "SELECT c.comment_id, c.site, c.post_id, c.parent_id, c.author_id, c.author_name, \
             c.create_time, c.revision, c.deleted, c.verdict, c.open, c.open_time, \
             r.revision_id, r.body, r.time AS revision_time, \
             d.decision_id, d.decider, d.time, d.record \
             FROM comment c JOIN revision r USING (comment_id, revision) \
             LEFT JOIN decision d ON d.revision_id = r.revision_id AND d.sequence = (\
                 SELECT max(sequence) FROM decision n WHERE n.revision_id = r.revision_id\
             ) WHERE ",
            $rest
        )
    };
}

const ONE: &str = select_case!("c.comment_id = $1 AND c.site = $2");
const LIST: &str = select_case!(
    "c.site = $1 AND c.open = $2 AND c.open_time IS NOT NULL \
     AND (c.open_time, c.comment_id) > ($3, $4) ORDER BY c.open_time, c.comment_id LIMIT $5"
);
const POLICY: &str = "SELECT version, record, set_by, time FROM policy WHERE site = $1 \
     AND (CAST($2 AS INTEGER) IS NULL OR version = $2) ORDER BY version DESC LIMIT 1";
const WAITING: &str =
    "SELECT count(*), min(open_time) FROM comment WHERE open AND open_time IS NOT NULL";
const REVISIONS: &str = "SELECT revision, revision_id, body, time AS revision_time FROM revision \
     WHERE comment_id = $1 ORDER BY revision";
const TITLE: &str = "SELECT title FROM post WHERE post_id = $1";
const PARENT: &str = "SELECT r.body, c.author_name FROM comment c \
     JOIN revision r USING (comment_id, revision) WHERE comment_id = $1";
const DECISIONS: &str = "SELECT d.revision_id, d.sequence, d.decision_id, d.decider, d.time, \
     d.record FROM revision r JOIN decision d USING (revision_id) \
     WHERE r.comment_id = $1 ORDER BY d.sequence";
const AUTHOR: &str = "SELECT approved, rejected FROM author WHERE site = $1 AND author_id = $2";

/// Reads cases and policies, on connections of its own.
pub struct Reader<B: Database> {
    pub(super) pool: Pool<B>,
}

impl<B: Database> Clone for Reader<B> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone() }
    }
}

macro_rules! reader {
    ($database:ty) => {
        impl Reader<$database> {
            async fn revisions(&self, id: CommentId) -> Result<Vec<Revision>, sqlx::Error> {
                let rows: Vec<rows::Text> =
                    sqlx::query_as(REVISIONS).bind(id.uuid()).fetch_all(&self.pool).await?;
                rows.into_iter().map(Revision::try_from).collect()
            }
        }

        impl Read for Reader<$database> {
            async fn policy(
                &self,
                site: &Site,
                version: Option<u32>,
            ) -> Result<Option<SetPolicy>, sqlx::Error> {
                let row = sqlx::query_as(POLICY)
                    .bind(site.as_str())
                    .bind(version.map(signed))
                    .fetch_optional(&self.pool)
                    .await?;
                rows::policy(row, version)
            }

            async fn case(&self, site: &Site, id: CommentId) -> Result<Option<Case>, sqlx::Error> {
                let row: Option<rows::CaseRow> = sqlx::query_as(ONE)
                    .bind(id.uuid())
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
                let rows: Vec<rows::CaseRow> = sqlx::query_as(LIST)
                    .bind(site.as_str())
                    .bind(open)
                    .bind(after.open_time)
                    .bind(after.comment_id)
                    .bind(limit as i64)
                    .fetch_all(&self.pool)
                    .await?;
                rows.into_iter().map(Case::try_from).collect()
            }

            async fn waiting(&self) -> Result<(u64, Option<Time>), sqlx::Error> {
                let (count, oldest): (i64, Option<i64>) =
                    sqlx::query_as(WAITING).fetch_one(&self.pool).await?;
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
                let title = sqlx::query_scalar(TITLE)
                    .bind(case.post_id.uuid())
                    .fetch_optional(&self.pool)
                    .await?;
                let parent = match &case.parent_id {
                    None => None,
                    Some(parent) => {
                        let parent = sqlx::query_as(PARENT).bind(parent.uuid());
                        parent.fetch_optional(&self.pool).await?
                    }
                };
                let decisions = sqlx::query_as(DECISIONS)
                    .bind(case.comment_id.uuid())
                    .fetch_all(&self.pool)
                    .await?;
                let author = sqlx::query_as(AUTHOR)
                    .bind(case.site.as_str())
                    .bind(case.author_id.as_str())
                    .fetch_optional(&self.pool)
                    .await?;
                let revisions = self.revisions(case.comment_id).await?;
                rows::context(title, parent, revisions, decisions, author)
            }
        }
    };
}

reader!(Sqlite);
reader!(Postgres);
