use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use agora_proto::event::v1::PolicySet;
use bus_schema::{CommentId, Event, Kind, PostId, RevisionId, Site, Time};
use chassis::{
    bulk::{Statement, distinct},
    content,
    owner::{ConsumeError, Consumed},
};
use prost::Message as _;
use sqlx::{Row as _, SqliteConnection};

use super::{
    Sqlite,
    rows::{self, invalid, load_comments, load_versions, site, uuid},
};
use crate::{
    consumer::{InForce, Known, Revision, Said, hash_for},
    domain::{self, Comment, Decided, State},
    rules::{Compiled, Policy, TextHash},
};

static POSTS: Statement = Statement::new(
    "INSERT INTO post (post_id, title) VALUES ",
    "(?, ?)",
    " ON CONFLICT (post_id) DO UPDATE SET title = excluded.title",
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
    /// Keeps what the comment service said, and has every new revision judged. New
    /// comments are left to be written with what follows from that.
    pub(super) async fn consume_comments(
        &self,
        connection: &mut SqliteConnection,
        events: &[Event],
    ) -> Result<Consumed<State>, ConsumeError> {
        let said = Said::read(events).map_err(ConsumeError::Event)?;
        keep(connection, &said).await?;
        let decided = decided(connection, &said).await?;
        let mut comments = said.comments(&decided);
        let others: Vec<CommentId> =
            said.updated.keys().filter(|id| !comments.contains_key(id)).copied().collect();
        comments.extend(load_comments(connection, &others).await?);

        let mut known = self.known(connection, &said, &comments).await?;
        let caused = known.judge(&said, &comments).map_err(ConsumeError::Event)?;
        keep_sightings(connection, &known.sightings).await?;
        Ok(Consumed { caused, state: State { comments, policies: HashMap::new() } })
    }

    async fn known(
        &self,
        connection: &mut SqliteConnection,
        said: &Said<'_>,
        comments: &HashMap<CommentId, Comment>,
    ) -> Result<Known, ConsumeError> {
        let sites = distinct(said.revisions.iter().map(|revision| revision.event.site.clone()));
        let mut known =
            Known { policies: self.policies(connection, &sites).await?, ..Known::default() };
        let first =
            known.policies.values().any(|policy| policy.compiled.policy().hold_first_comments > 0);
        if first {
            known.approved = approved(connection, comments, &sites).await?;
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

/// Keeps revisions, and what happened to comments that are kept already.
async fn keep(connection: &mut SqliteConnection, said: &Said<'_>) -> Result<(), sqlx::Error> {
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

/// The decisions, oldest first, on revisions of the batch that have some already.
async fn decided(
    connection: &mut SqliteConnection,
    said: &Said<'_>,
) -> Result<HashMap<RevisionId, Vec<Decided>>, sqlx::Error> {
    let newest: Option<Vec<u8>> = sqlx::query_scalar("SELECT max(revision_id) FROM decision")
        .fetch_one(&mut *connection)
        .await?;
    let newest = newest.map(|id| RevisionId::from_slice(&id)).transpose();
    let newest = newest.map_err(|error| invalid("revision_id", error))?;
    // Ids grow with time: on a revision after all that were decided there is no decision.
    let old: Vec<_> =
        said.revisions.iter().map(Revision::id).filter(|id| Some(*id) <= newest).collect();
    let rows =
        DECIDED.fetch(connection, &old, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    let mut decided: HashMap<_, Vec<_>> = HashMap::new();
    for row in &rows {
        let revision_id = uuid(row, "revision_id")?.into();
        decided.entry(revision_id).or_default().push(rows::decided(row)?);
    }
    Ok(decided)
}

async fn approved(
    connection: &mut SqliteConnection,
    comments: &HashMap<CommentId, Comment>,
    sites: &[Site],
) -> Result<HashMap<(Site, String), u64>, sqlx::Error> {
    let ids = distinct(comments.values().map(|comment| comment.author_id.as_str()));
    let keys: Vec<(Site, String)> =
        sites.iter().flat_map(|site| ids.iter().map(|id| (site.clone(), id.to_string()))).collect();
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
