//! Consuming comments, whatever database they are kept in.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::Arc,
};

use agora_proto::event::v1::PolicySet;
use bus_schema::{CommentId, Event, Kind, PostId, RevisionId, Site, Time};
use chassis::content;
use eventstore::{
    database::{
        bulk::distinct,
        rows::{invalid, parse, unsigned},
    },
    domain::{ConsumeError, Consumed},
};
use prost::Message as _;
use quick_cache::sync::Cache;

use super::rows;
use crate::{
    consumer::{InForce, Known, Revision, Said, hash_for},
    domain::{self, Comment, Decided, State},
    rules::{Compiled, Policy, TextHash},
};

/// How many compiled policies are kept.
const MAX_COMPILED: usize = 256;

/// The SQL that consuming needs, in a transaction that is open.
pub(super) trait Tables: Send {
    /// Keeps revisions, and what happened to comments that are kept already.
    fn keep(&mut self, said: &Said<'_>) -> impl Future<Output = SqlResult<()>> + Send;

    /// The decisions, oldest first, on those of these revisions that have some.
    fn decisions(
        &mut self,
        revisions: &[RevisionId],
    ) -> impl Future<Output = SqlResult<Vec<rows::Decision>>> + Send;

    /// Comments with their revisions and what was decided on each.
    fn comments(
        &mut self,
        ids: &[CommentId],
    ) -> impl Future<Output = SqlResult<HashMap<CommentId, Comment>>> + Send;

    /// The newest version of each site's policy.
    fn versions(
        &mut self,
        sites: &[Site],
    ) -> impl Future<Output = SqlResult<Vec<rows::Version>>> + Send;

    /// A version of a site's policy, encoded.
    fn policy(
        &mut self,
        site: &Site,
        version: u32,
    ) -> impl Future<Output = SqlResult<Vec<u8>>> + Send;

    /// How many comments of these authors were approved.
    fn approved(
        &mut self,
        authors: &[(Site, String)],
    ) -> impl Future<Output = SqlResult<Vec<rows::Approved>>> + Send;

    /// When sites saw these texts.
    fn seen(
        &mut self,
        texts: &[(Site, TextHash)],
    ) -> impl Future<Output = SqlResult<Vec<rows::Sighting>>> + Send;

    /// Keeps when sites saw texts: site, hash, encoded times.
    fn see(
        &mut self,
        sightings: &[(&Site, &TextHash, Vec<u8>)],
    ) -> impl Future<Output = SqlResult<()>> + Send;
}

/// What a statement returns.
pub(super) type SqlResult<T> = Result<T, sqlx::Error>;

/// Policies ready to judge, by site, version and the time when that was set: it never
/// changes.
pub(super) struct Policies {
    compiled: Cache<(Site, u32, i64), InForce>,
}

impl Policies {
    pub(super) fn new() -> Self {
        Self { compiled: Cache::new(MAX_COMPILED) }
    }

    /// Keeps what the comment service said, and has every new revision judged. New
    /// comments are left to be written with what follows from that.
    pub(super) async fn consume(
        &self,
        tables: &mut impl Tables,
        events: &[Event],
    ) -> Result<Consumed<State>, ConsumeError> {
        let said = Said::read(events).map_err(ConsumeError::Event)?;
        tables.keep(&said).await?;
        let decided = decided(tables, &said).await?;
        let mut comments = said.comments(&decided);
        let others: Vec<CommentId> =
            said.updated.keys().filter(|id| !comments.contains_key(id)).copied().collect();
        comments.extend(tables.comments(&others).await?);

        let mut known = self.known(tables, &said, &comments).await?;
        let caused = known.judge(&said, &comments).map_err(ConsumeError::Event)?;
        let sightings = known.sightings.iter().map(|((site, hash), times)| {
            let times = times.iter().flat_map(|time| time.micros().to_le_bytes());
            (site, hash, times.collect())
        });
        tables.see(&sightings.collect::<Vec<_>>()).await?;
        Ok(Consumed { caused, state: State { comments, policies: HashMap::new() } })
    }

    async fn known(
        &self,
        tables: &mut impl Tables,
        said: &Said<'_>,
        comments: &HashMap<CommentId, Comment>,
    ) -> Result<Known, ConsumeError> {
        let sites = distinct(said.revisions.iter().map(|revision| revision.event.site.clone()));
        let mut known =
            Known { policies: self.in_force(tables, &sites).await?, ..Known::default() };
        let first =
            known.policies.values().any(|policy| policy.compiled.policy().hold_first_comments > 0);
        if first {
            known.approved = approved(tables, comments, &sites).await?;
        }
        known.sightings = sightings(tables, said, &known.policies).await?;
        Ok(known)
    }

    /// The policy in force on each site.
    async fn in_force(
        &self,
        tables: &mut impl Tables,
        sites: &[Site],
    ) -> Result<HashMap<Site, InForce>, ConsumeError> {
        let rows = tables.versions(sites).await?;
        let times: HashMap<String, i64> =
            rows.iter().map(|row| (row.site.clone(), row.time)).collect();
        let versions = versions(rows)?;
        let mut policies = HashMap::new();
        for site in sites {
            let version = versions.get(site).copied().unwrap_or_default();
            let time = times.get(site.as_str()).copied().unwrap_or_default();
            let key = (site.clone(), version, time);
            let in_force = match self.compiled.get(&key) {
                Some(in_force) => in_force,
                None => {
                    let compiled = compile(tables, site, version).await?;
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

/// The newest version of each site's policy.
pub(super) fn versions(rows: Vec<rows::Version>) -> SqlResult<HashMap<Site, u32>> {
    let versions = rows
        .into_iter()
        .map(|row| Ok((parse("site", &row.site)?, unsigned("version", row.version)?)));
    versions.collect()
}

/// The titles that posts have in the end, for the context of cases.
pub(super) fn titles(events: &[Event]) -> Result<Vec<(PostId, &str)>, ConsumeError> {
    let mut titles: BTreeMap<PostId, &str> = BTreeMap::new();
    for event in events {
        let title = match &event.kind {
            Kind::PostCreated(created) => content::open(created.title.as_ref()),
            Kind::PostUpdated(updated) => content::open(updated.title.as_ref()),
            Kind::PostDeleted(_) => Ok(""),
            Kind::PostClosed(_)
            | Kind::PostReopened(_)
            | Kind::CommentCreated(_)
            | Kind::CommentUpdated(_)
            | Kind::CommentDeleted(_)
            | Kind::PolicySet(_)
            | Kind::RevisionDecided(_) => continue,
        };
        let title = title.map_err(|error| ConsumeError::Event(error.into()))?;
        let id = event
            .post_id
            .ok_or_else(|| ConsumeError::Event("an event of a post without its id".into()))?;
        titles.insert(id, title);
    }
    Ok(titles.into_iter().collect())
}

async fn compile(
    tables: &mut impl Tables,
    site: &Site,
    version: u32,
) -> Result<Compiled, ConsumeError> {
    let policy = if version == 0 {
        Policy::default()
    } else {
        let record = tables.policy(site, version).await?;
        let set = PolicySet::decode(record.as_slice())
            .map_err(|error| ConsumeError::Event(error.into()))?;
        domain::policy(&set).map_err(ConsumeError::Event)?
    };
    Compiled::new(policy).map_err(|wrong| {
        ConsumeError::Event(format!("the policy of {site} is not valid: {wrong:?}").into())
    })
}

/// The decisions, oldest first, on revisions of the batch that have some already.
async fn decided(
    tables: &mut impl Tables,
    said: &Said<'_>,
) -> SqlResult<HashMap<RevisionId, Vec<Decided>>> {
    let revisions: Vec<_> = said.revisions.iter().map(Revision::id).collect();
    let mut decided: HashMap<_, Vec<_>> = HashMap::new();
    for row in tables.decisions(&revisions).await? {
        decided.entry(row.revision_id.into()).or_default().push(row.try_into()?);
    }
    Ok(decided)
}

async fn approved(
    tables: &mut impl Tables,
    comments: &HashMap<CommentId, Comment>,
    sites: &[Site],
) -> SqlResult<HashMap<(Site, String), u64>> {
    let ids = distinct(comments.values().map(|comment| comment.author_id.as_str()));
    let keys: Vec<(Site, String)> =
        sites.iter().flat_map(|site| ids.iter().map(|id| (site.clone(), id.to_string()))).collect();
    let found = tables.approved(&keys).await?;
    let mut approved: HashMap<_, u64> = keys.into_iter().map(|key| (key, 0)).collect();
    for row in found {
        let count = unsigned("approved", row.approved)?;
        approved.insert((parse("site", &row.site)?, row.author_id), count.into());
    }
    Ok(approved)
}

/// When the texts of the batch were seen, on sites whose policy asks.
async fn sightings(
    tables: &mut impl Tables,
    said: &Said<'_>,
    policies: &HashMap<Site, InForce>,
) -> SqlResult<HashMap<(Site, TextHash), Vec<Time>>> {
    let looked_for = said.revisions.iter().filter_map(|revision| {
        let site = &revision.event.site;
        let compiled = &policies.get(site)?.compiled;
        compiled.policy().repeated_text?;
        Some((site.clone(), hash_for(compiled, revision.body)))
    });
    let keys = distinct(looked_for);
    let found = tables.seen(&keys).await?;
    let mut sightings: HashMap<_, Vec<Time>> =
        keys.into_iter().map(|key| (key, Vec::new())).collect();
    for row in found {
        let hash = row.text_hash.as_slice().try_into();
        let hash = hash.map_err(|error| invalid("text_hash", format!("{error}")))?;
        let times = row.times.chunks_exact(8).map(|bytes| {
            Time::from_micros(i64::from_le_bytes(bytes.try_into().expect("chunks of 8 bytes")))
        });
        sightings.insert((parse("site", &row.site)?, hash), times.collect());
    }
    Ok(sightings)
}
