use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use agora_proto::event::v1::PolicySet;
use bus_schema::{CommentId, Event, Kind, PostId, RevisionId, Site, Time};
use chassis::{
    bulk::{Statement, distinct},
    content,
    owner::{Caused, ConsumeError},
};
use prost::Message as _;
use sqlx::{Row as _, SqliteConnection};

use super::{
    Sqlite,
    rows::{invalid, load_comments, load_versions, site, uuid},
    write,
};
use crate::{
    consumer::{InForce, Known, Said, hash_for},
    domain,
    rules::{Compiled, Policy, TextHash},
};

static POSTS: Statement = Statement::new(
    "INSERT INTO post (post_id, title) VALUES ",
    "(?, ?)",
    " ON CONFLICT (post_id) DO UPDATE SET title = excluded.title",
);
static CREATED: Statement = Statement::new(
    "INSERT OR FAIL INTO comment (comment_id, site, post_id, parent_id, author_id, author_name, \
     create_time, revision, deleted) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, 1, 0)",
    "",
);
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
static DECIDED: Statement =
    Statement::new("SELECT DISTINCT revision_id FROM decision WHERE revision_id IN (", "?", ")");
static AUTHORS: Statement =
    Statement::new("SELECT comment_id, author_id FROM comment WHERE comment_id IN (", "?", ")");
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

/// Keeps the titles of posts, for the context of cases.
pub(super) async fn posts(
    connection: &mut SqliteConnection,
    events: &[Event],
) -> Result<(), ConsumeError> {
    let mut titles: BTreeMap<PostId, &str> = BTreeMap::new();
    for event in events {
        let title = match &event.kind {
            Kind::PostCreated(created) => content::open(created.title.as_ref()),
            Kind::PostUpdated(updated) => content::open(updated.title.as_ref()),
            Kind::PostDeleted(_) => Ok(""),
            _ => continue,
        };
        let title = title.map_err(|error| ConsumeError::Event(error.into()))?;
        let id = event
            .post_id
            .ok_or_else(|| ConsumeError::Event("an event of a post without its id".into()))?;
        titles.insert(id, title);
    }
    let titles: Vec<_> = titles.into_iter().collect();
    POSTS
        .execute(connection, &titles, |query, (id, title)| {
            query.bind(id.as_bytes().as_slice()).bind(*title)
        })
        .await?;
    Ok(())
}

impl Sqlite {
    /// Keeps what the comment service said, and has every new revision judged.
    pub(super) async fn consume_comments(
        &self,
        connection: &mut SqliteConnection,
        events: &[Event],
    ) -> Result<Vec<Caused>, ConsumeError> {
        let said = Said::read(events).map_err(ConsumeError::Event)?;
        keep(connection, &said).await?;
        let mut known = self.known(connection, &said).await?;
        let caused = known.judge(&said).map_err(ConsumeError::Event)?;
        keep_sightings(connection, &known.sightings).await?;
        if !known.decided.is_empty() {
            settle_decided(connection, &said, &known.decided).await?;
        }
        Ok(caused)
    }

    async fn known(
        &self,
        connection: &mut SqliteConnection,
        said: &Said<'_>,
    ) -> Result<Known, ConsumeError> {
        let sites = distinct(said.revisions.iter().map(|revision| revision.event.site.clone()));
        let mut known = Known {
            policies: self.policies(connection, &sites).await?,
            decided: decided(connection, said).await?,
            authors: authors(connection, said).await?,
            ..Known::default()
        };
        let first =
            known.policies.values().any(|policy| policy.compiled.policy().hold_first_comments > 0);
        if first {
            known.approved = approved(connection, &known.authors, &sites).await?;
        }
        known.sightings = sightings(connection, said, &known.policies).await?;
        Ok(known)
    }

    /// The policy in force on each site.
    async fn policies(
        &self,
        connection: &mut SqliteConnection,
        sites: &[Site],
    ) -> Result<HashMap<Site, InForce>, ConsumeError> {
        let versions = load_versions(connection, sites).await?;
        let mut policies = HashMap::new();
        for site in sites {
            let version = versions.get(site).copied().unwrap_or_default();
            let key = (site.clone(), version);
            let in_force = match self.compiled.get(&key) {
                Some(in_force) => in_force,
                None => {
                    let compiled = compile(connection, site, version).await?;
                    let in_force = InForce { version, compiled: Arc::new(compiled) };
                    self.compiled.insert(key, in_force.clone());
                    in_force
                }
            };
            policies.insert(site.clone(), in_force);
        }
        Ok(policies)
    }
}

async fn compile(
    connection: &mut SqliteConnection,
    site: &Site,
    version: u32,
) -> Result<Compiled, ConsumeError> {
    let policy = if version == 0 {
        Policy::default()
    } else {
        let record: Vec<u8> =
            sqlx::query_scalar("SELECT record FROM policy WHERE site = ? AND version = ?")
                .bind(site.as_str())
                .bind(version)
                .fetch_one(connection)
                .await?;
        let set = PolicySet::decode(record.as_slice())
            .map_err(|error| ConsumeError::Event(error.into()))?;
        domain::policy(&set).map_err(ConsumeError::Event)?
    };
    Compiled::new(policy).map_err(|wrong| {
        ConsumeError::Event(format!("the policy of {site} is not valid: {wrong:?}").into())
    })
}

async fn keep(connection: &mut SqliteConnection, said: &Said<'_>) -> Result<(), sqlx::Error> {
    CREATED
        .execute(connection, &said.created, |query, comment| {
            query
                .bind(comment.id.as_bytes().as_slice())
                .bind(comment.site.as_str())
                .bind(comment.post_id.as_bytes().as_slice())
                .bind(comment.parent_id.as_ref().map(|id| id.as_bytes().as_slice()))
                .bind(comment.author_id)
                .bind(comment.author_name)
                .bind(comment.create_time.micros())
        })
        .await?;
    REVISIONS
        .execute(connection, &said.revisions, |query, revision| {
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
        .execute(connection, &updated, |query, (id, revision)| {
            query.bind(id.as_bytes().as_slice()).bind(**revision)
        })
        .await?;
    DELETED
        .execute(connection, &said.deleted, |query, id| query.bind(id.as_bytes().as_slice()))
        .await
}

/// The revisions of the batch that have a decision already.
async fn decided(
    connection: &mut SqliteConnection,
    said: &Said<'_>,
) -> Result<HashSet<RevisionId>, sqlx::Error> {
    let rows = DECIDED
        .fetch(connection, &said.revisions, |query, revision| {
            query.bind(revision.event.id.as_bytes().as_slice())
        })
        .await?;
    rows.iter().map(|row| uuid(row, "revision_id").map(RevisionId::from)).collect()
}

/// Who wrote the comments of the batch: new ones say it themselves.
async fn authors(
    connection: &mut SqliteConnection,
    said: &Said<'_>,
) -> Result<HashMap<CommentId, String>, sqlx::Error> {
    let mut authors: HashMap<CommentId, String> =
        said.created.iter().map(|comment| (comment.id, comment.author_id.to_owned())).collect();
    let others: Vec<CommentId> =
        said.updated.keys().filter(|id| !authors.contains_key(id)).copied().collect();
    let rows = AUTHORS
        .fetch(connection, &others, |query, id| query.bind(id.as_bytes().as_slice()))
        .await?;
    for row in &rows {
        authors.insert(uuid(row, "comment_id")?.into(), row.try_get("author_id")?);
    }
    Ok(authors)
}

async fn approved(
    connection: &mut SqliteConnection,
    authors: &HashMap<CommentId, String>,
    sites: &[Site],
) -> Result<HashMap<(Site, String), u64>, sqlx::Error> {
    let ids = distinct(authors.values());
    let keys: Vec<(Site, String)> =
        sites.iter().flat_map(|site| ids.iter().map(|id| (site.clone(), (*id).clone()))).collect();
    let rows = APPROVED
        .fetch(connection, &keys, |query, (site, author)| {
            query.bind(site.as_str()).bind(author.as_str())
        })
        .await?;
    let mut approved: HashMap<_, u64> = keys.into_iter().map(|key| (key, 0)).collect();
    for row in &rows {
        let count: i64 = row.try_get("approved")?;
        approved.insert((site(row)?, row.try_get("author_id")?), count.unsigned_abs());
    }
    Ok(approved)
}

/// When the texts of the batch were seen, on sites whose policy asks.
async fn sightings(
    connection: &mut SqliteConnection,
    said: &Said<'_>,
    policies: &HashMap<Site, InForce>,
) -> Result<HashMap<(Site, TextHash), Vec<Time>>, sqlx::Error> {
    let looked_for = said.revisions.iter().filter_map(|revision| {
        let site = &revision.event.site;
        let compiled = &policies.get(site)?.compiled;
        compiled.policy().repeated_text?;
        Some((site.clone(), hash_for(compiled, revision.body)))
    });
    let keys = distinct(looked_for);
    let rows = SEEN
        .fetch(connection, &keys, |query, (site, hash)| {
            query.bind(site.as_str()).bind(hash.as_slice())
        })
        .await?;
    let mut sightings: HashMap<_, Vec<Time>> =
        keys.into_iter().map(|key| (key, Vec::new())).collect();
    for row in &rows {
        let hash: &[u8] = row.try_get("text_hash")?;
        let hash = hash.try_into().map_err(|error| invalid("text_hash", format!("{error}")))?;
        let times: &[u8] = row.try_get("times")?;
        let times = times.chunks_exact(8).map(|bytes| {
            Time::from_micros(i64::from_le_bytes(bytes.try_into().expect("chunks of 8 bytes")))
        });
        sightings.insert((site(row)?, hash), times.collect());
    }
    Ok(sightings)
}

async fn keep_sightings(
    connection: &mut SqliteConnection,
    sightings: &HashMap<(Site, TextHash), Vec<Time>>,
) -> Result<(), sqlx::Error> {
    let sightings: Vec<_> = sightings.iter().collect();
    SEE.execute(connection, &sightings, |query, ((site, hash), times)| {
        let times: Vec<u8> = times.iter().flat_map(|time| time.micros().to_le_bytes()).collect();
        query.bind(site.as_str()).bind(hash.as_slice()).bind(times)
    })
    .await
}

/// Keeps what follows from decisions that came before their revisions.
async fn settle_decided(
    connection: &mut SqliteConnection,
    said: &Said<'_>,
    decided: &HashSet<RevisionId>,
) -> Result<(), sqlx::Error> {
    let revisions = said.revisions.iter().filter(|revision| decided.contains(&revision.id()));
    let ids = distinct(revisions.map(|revision| revision.comment_id));
    let comments = load_comments(connection, &ids).await?;
    write::settle(connection, comments.values()).await
}
