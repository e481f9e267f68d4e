//! Reading comments: the same SQL on both kinds of database.

use bus_schema::{CommentId, PostId, Site};
use sqlx::{Database, Pool, Postgres, Sqlite};

use super::{Cursor, Page, Read, Seen, Viewer, page, rows};

/// A comment with the newest revision that a viewer may see. `$1` says whether the
/// viewer sees everything, `$2` is the reader's id, if they have one.
///
/// Readers see a comment if it and every ancestor have a visible revision: the newest
/// one that was approved or rejected, if it was approved. Authors see their own.
macro_rules! select_seen {
    ($rest:literal) => {
        concat!(
            "WITH seen AS (\
                 SELECT c.comment_id, c.site, c.post_id, c.parent_id, c.depth, c.author_id, \
                 c.author_name, c.revision, c.deleted, c.create_time, c.update_time, \
                 c.author_id = CAST($2 AS TEXT) AS own, (\
                     SELECT d.decision FROM revision r JOIN decision d USING (revision_id) \
                     WHERE r.comment_id = c.comment_id AND d.decision IN (2, 3) \
                     ORDER BY r.revision DESC LIMIT 1\
                 ) AS verdict, (\
                     SELECT r.revision FROM revision r JOIN decision d USING (revision_id) \
                     WHERE r.comment_id = c.comment_id AND d.decision IN (2, 3) \
                     ORDER BY r.revision DESC LIMIT 1\
                 ) AS decided FROM comment c\
             ) \
             SELECT s.comment_id, s.site, s.post_id, s.parent_id, s.depth, s.author_id, \
             s.author_name, s.revision, s.deleted, s.create_time, s.update_time, s.verdict, \
             r.revision AS seen_revision, r.body, r.time, d.decision \
             FROM seen s \
             JOIN revision r ON r.comment_id = s.comment_id \
                 AND r.revision = CASE WHEN $1 OR s.own THEN s.revision ELSE s.decided END \
             LEFT JOIN decision d ON d.revision_id = r.revision_id \
             WHERE ($1 OR s.own OR NOT EXISTS (\
                 WITH RECURSIVE up (id, parent_id) AS (\
                     SELECT s.comment_id, s.parent_id \
                     UNION ALL \
                     SELECT p.comment_id, p.parent_id FROM comment p \
                     JOIN up ON p.comment_id = up.parent_id\
                 ) \
                 SELECT 1 FROM up WHERE 2 IS DISTINCT FROM (\
                     SELECT d.decision FROM revision r JOIN decision d USING (revision_id) \
                     WHERE r.comment_id = up.id AND d.decision IN (2, 3) \
                     ORDER BY r.revision DESC LIMIT 1\
                 )\
             )) AND ",
            $rest
        )
    };
}

const ONE: &str = select_seen!("s.comment_id = $3 AND s.site = $4");
const LIST: &str = select_seen!(
    "s.post_id = $3 AND s.site = $4 AND (s.create_time, s.comment_id) > ($5, $6) \
     ORDER BY s.create_time, s.comment_id LIMIT $7"
);

/// Reads comments, on connections of its own.
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
        impl Read for Reader<$database> {
            async fn comment(
                &self,
                site: &Site,
                id: CommentId,
                viewer: &Viewer,
            ) -> Result<Option<Seen>, sqlx::Error> {
                let row: Option<rows::Seen> = sqlx::query_as(ONE)
                    .bind(*viewer == Viewer::Moderator)
                    .bind(viewer.id())
                    .bind(id.uuid())
                    .bind(site.as_str())
                    .fetch_optional(&self.pool)
                    .await?;
                row.map(Seen::try_from).transpose()
            }

            async fn comments(
                &self,
                site: &Site,
                post_id: PostId,
                viewer: &Viewer,
                after: Option<Cursor>,
                size: usize,
            ) -> Result<Page, sqlx::Error> {
                let after = after.unwrap_or(Cursor::START);
                let rows = sqlx::query_as(LIST)
                    .bind(*viewer == Viewer::Moderator)
                    .bind(viewer.id())
                    .bind(post_id.uuid())
                    .bind(site.as_str())
                    .bind(after.create_time)
                    .bind(after.comment_id)
                    // One more tells whether anything follows.
                    .bind(size as i64 + 1)
                    .fetch(&self.pool);
                page(rows, size).await
            }

            async fn knows_post(&self, site: &Site, post_id: PostId) -> Result<bool, sqlx::Error> {
                let found = sqlx::query("SELECT 1 FROM post WHERE post_id = $1 AND site = $2")
                    .bind(post_id.uuid())
                    .bind(site.as_str())
                    .fetch_optional(&self.pool)
                    .await?;
                Ok(found.is_some())
            }
        }
    };
}

reader!(Sqlite);
reader!(Postgres);
