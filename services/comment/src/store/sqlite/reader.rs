use agora_proto::comment::v1::Decision;
use bus_schema::{CommentId, PostId, Site, Time};
use futures::TryStreamExt as _;
use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};

use super::{
    super::{Cursor, MAX_PAGE_BYTES, Page, Seen, Viewer},
    comment, invalid,
};

/// A comment with the newest revision that a viewer may see. `?1` says whether the
/// viewer sees everything, `?2` is the reader's id, if they have one.
///
/// Readers see a comment if it and every ancestor have a visible revision: the newest
/// one that was approved or rejected, if it was approved. Authors see their own.
macro_rules! select_seen {
    ($rest:literal) => {
        concat!(
            "WITH seen AS (\
                 SELECT c.*, c.author_id = ?2 AS own, (\
                     SELECT d.decision FROM revision r JOIN decision d USING (revision_id) \
                     WHERE r.comment_id = c.comment_id AND d.decision IN (2, 3) \
                     ORDER BY r.revision DESC LIMIT 1\
                 ) AS verdict, (\
                     SELECT r.revision FROM revision r JOIN decision d USING (revision_id) \
                     WHERE r.comment_id = c.comment_id AND d.decision IN (2, 3) \
                     ORDER BY r.revision DESC LIMIT 1\
                 ) AS decided FROM comment c\
             ) \
             SELECT s.*, r.revision AS seen_revision, r.body, r.time, d.decision \
             FROM seen s \
             JOIN revision r ON r.comment_id = s.comment_id \
                 AND r.revision = CASE WHEN ?1 OR s.own THEN s.revision ELSE s.decided END \
             LEFT JOIN decision d ON d.revision_id = r.revision_id \
             WHERE (?1 OR s.own OR NOT EXISTS (\
                 WITH RECURSIVE up (id, parent_id) AS (\
                     SELECT s.comment_id, s.parent_id \
                     UNION ALL \
                     SELECT p.comment_id, p.parent_id FROM comment p \
                     JOIN up ON p.comment_id = up.parent_id\
                 ) \
                 SELECT 1 FROM up WHERE 2 IS NOT (\
                     SELECT d.decision FROM revision r JOIN decision d USING (revision_id) \
                     WHERE r.comment_id = up.id AND d.decision IN (2, 3) \
                     ORDER BY r.revision DESC LIMIT 1\
                 )\
             )) AND ",
            $rest
        )
    };
}

const ONE: &str = select_seen!("s.comment_id = ?3 AND s.site = ?4");
const LIST: &str = select_seen!(
    "s.post_id = ?3 AND s.site = ?4 AND (s.create_time, s.comment_id) > (?5, ?6) \
     ORDER BY s.create_time, s.comment_id LIMIT ?7"
);

/// Reads comments, on connections of its own.
#[derive(Clone)]
pub struct Reader {
    pool: SqlitePool,
}

impl Reader {
    /// A reader on these connections.
    pub const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// One comment of a site, if the viewer may see it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn comment(
        &self,
        site: &Site,
        id: CommentId,
        viewer: &Viewer,
    ) -> Result<Option<Seen>, sqlx::Error> {
        let row = sqlx::query(ONE)
            .bind(*viewer == Viewer::Moderator)
            .bind(viewer.id())
            .bind(id.as_bytes().as_slice())
            .bind(site.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(seen).transpose()
    }

    /// The comments of a post that the viewer may see, oldest first, after the cursor: at
    /// most `size` and [`MAX_PAGE_BYTES`].
    ///
    /// # Errors
    /// What the database says.
    pub async fn comments(
        &self,
        site: &Site,
        post_id: PostId,
        viewer: &Viewer,
        after: Option<Cursor>,
        size: usize,
    ) -> Result<Page, sqlx::Error> {
        let after =
            after.unwrap_or(Cursor { create_time: i64::MIN, comment_id: uuid::Uuid::nil() });
        let mut rows = sqlx::query(LIST)
            .bind(*viewer == Viewer::Moderator)
            .bind(viewer.id())
            .bind(post_id.as_bytes().as_slice())
            .bind(site.as_str())
            .bind(after.create_time)
            .bind(after.comment_id.as_bytes().as_slice())
            // One more tells whether anything follows.
            .bind(size as i64 + 1)
            .fetch(&self.pool);

        let (mut comments, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            let seen = seen(&row)?;
            bytes += size_of_texts(&seen);
            if comments.len() == size || (bytes > MAX_PAGE_BYTES && !comments.is_empty()) {
                return Ok(Page { comments, is_last: false });
            }
            comments.push(seen);
        }
        Ok(Page { comments, is_last: true })
    }

    /// Whether a site's post was heard of.
    ///
    /// # Errors
    /// What the database says.
    pub async fn knows_post(&self, site: &Site, post_id: PostId) -> Result<bool, sqlx::Error> {
        let found = sqlx::query("SELECT 1 FROM post WHERE post_id = ? AND site = ?")
            .bind(post_id.as_bytes().as_slice())
            .bind(site.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }
}

impl Viewer {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Reader { id } => id.as_deref(),
            Self::Moderator => None,
        }
    }
}

fn size_of_texts(seen: &Seen) -> usize {
    let author = &seen.comment.author;
    seen.body.len() + author.id.len() + author.name.len()
}

fn seen(row: &SqliteRow) -> Result<Seen, sqlx::Error> {
    let mut comment = comment(row)?;
    let decision: Option<i32> = row.try_get("decision")?;
    let decision = Decision::try_from(decision.unwrap_or_default());
    comment.revision = row.try_get("seen_revision")?;
    let mut body: String = row.try_get("body")?;
    if comment.deleted {
        body.clear();
    } else {
        comment.update_time = Time::from_micros(row.try_get("time")?);
    }
    Ok(Seen { comment, body, decision: decision.map_err(|error| invalid("decision", error))? })
}
