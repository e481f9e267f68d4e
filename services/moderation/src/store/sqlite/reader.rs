use agora_proto::event::v1::PolicySet;
use bus_schema::{CommentId, RevisionId, Site, Time};
use prost::Message as _;
use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};

use super::{
    super::{Case, Context, Cursor, Revision},
    rows::{invalid, record, site, uuid},
};
use crate::{
    domain::{self, SetPolicy},
    rules::Policy,
};

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

/// Reads cases and policies, on connections of its own.
#[derive(Clone)]
pub struct Reader {
    pool: SqlitePool,
}

impl Reader {
    /// A reader on these connections.
    pub const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// A version of a site's policy, or the newest. The default policy is version 0.
    ///
    /// # Errors
    /// What the database says.
    pub async fn policy(
        &self,
        site: &Site,
        version: Option<u32>,
    ) -> Result<Option<SetPolicy>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT version, record, set_by, time FROM policy \
             WHERE site = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1",
        )
        .bind(site.as_str())
        .bind(version)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else {
            let default = SetPolicy {
                version: 0,
                policy: Policy::default(),
                set_by: String::new(),
                time: None,
            };
            return Ok(version.is_none().then_some(default));
        };
        let record: &[u8] = row.try_get("record")?;
        let set = PolicySet::decode(record).map_err(|error| invalid("record", error))?;
        Ok(Some(SetPolicy {
            version: row.try_get("version")?,
            policy: domain::policy(&set).map_err(|error| invalid("record", error))?,
            set_by: row.try_get("set_by")?,
            time: Some(Time::from_micros(row.try_get("time")?)),
        }))
    }

    /// The case of a site's comment.
    ///
    /// # Errors
    /// What the database says.
    pub async fn case(&self, site: &Site, id: CommentId) -> Result<Option<Case>, sqlx::Error> {
        let row = sqlx::query(select_case!("c.comment_id = ? AND c.site = ?"))
            .bind(id.as_bytes().as_slice())
            .bind(site.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(case).transpose()
    }

    /// A site's cases that were open once, open or closed now, oldest first, after the
    /// cursor.
    ///
    /// # Errors
    /// What the database says.
    pub async fn cases(
        &self,
        site: &Site,
        open: bool,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<Case>, sqlx::Error> {
        let after = after.unwrap_or(Cursor { open_time: i64::MIN, comment_id: uuid::Uuid::nil() });
        let rows = sqlx::query(select_case!(
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
        rows.iter().map(case).collect()
    }

    /// One revision of a comment.
    ///
    /// # Errors
    /// What the database says.
    pub async fn revision(
        &self,
        id: CommentId,
        revision_id: RevisionId,
    ) -> Result<Option<Revision>, sqlx::Error> {
        let revisions = self.revisions(id).await?;
        Ok(revisions.into_iter().find(|revision| revision.id == revision_id))
    }

    async fn revisions(&self, id: CommentId) -> Result<Vec<Revision>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT revision, revision_id, body, time AS revision_time FROM revision \
             WHERE comment_id = ? ORDER BY revision",
        )
        .bind(id.as_bytes().as_slice())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(revision).collect()
    }

    /// What a moderator needs to know besides the case.
    ///
    /// # Errors
    /// What the database says.
    pub async fn context(&self, case: &Case) -> Result<Context, sqlx::Error> {
        let title: Option<String> = sqlx::query_scalar("SELECT title FROM post WHERE post_id = ?")
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
        let decisions = sqlx::query(
            "SELECT d.* FROM revision r JOIN decision d USING (revision_id) \
             WHERE r.comment_id = ? ORDER BY d.sequence",
        )
        .bind(case.comment_id.as_bytes().as_slice())
        .fetch_all(&self.pool)
        .await?;
        let author: Option<(u32, u32)> = sqlx::query_as(
            "SELECT approved, rejected FROM author WHERE site = ? AND author_id = ?",
        )
        .bind(case.site.as_str())
        .bind(case.author_id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(Context {
            post_title: title.unwrap_or_default(),
            parent,
            revisions: self.revisions(case.comment_id).await?,
            decisions: decisions.iter().map(record).collect::<Result<_, _>>()?,
            author: author.unwrap_or_default(),
        })
    }
}

fn case(row: &SqliteRow) -> Result<Case, sqlx::Error> {
    let open_time: Option<i64> = row.try_get("open_time")?;
    let parent_id: Option<&[u8]> = row.try_get("parent_id")?;
    let parent_id = parent_id.map(CommentId::from_slice).transpose();
    let decided: Option<&[u8]> = row.try_get("decision_id")?;
    Ok(Case {
        comment_id: uuid(row, "comment_id")?.into(),
        site: site(row)?,
        post_id: uuid(row, "post_id")?.into(),
        parent_id: parent_id.map_err(|error| invalid("parent_id", error))?,
        author_id: row.try_get("author_id")?,
        author_name: row.try_get("author_name")?,
        deleted: row.try_get("deleted")?,
        open: row.try_get("open")?,
        create_time: Time::from_micros(row.try_get("create_time")?),
        open_time: open_time.map(Time::from_micros),
        revision: revision(row)?,
        decision: decided.is_some().then(|| record(row)).transpose()?,
    })
}

fn revision(row: &SqliteRow) -> Result<Revision, sqlx::Error> {
    Ok(Revision {
        id: uuid(row, "revision_id")?.into(),
        number: row.try_get("revision")?,
        body: row.try_get("body")?,
        time: Time::from_micros(row.try_get("revision_time")?),
    })
}
