use std::collections::HashMap;

use agora_proto::event::v1::{PolicySet, RevisionDecided};
use bus_schema::{Event, Site, Time};
use chassis::bulk::Statement;
use prost::Message as _;
use sqlx::SqliteConnection;

use super::encode;
use crate::domain::{self, Comment, New, Settled, Verdict};

static POLICIES: Statement = Statement::new(
    "INSERT OR FAIL INTO policy (site, version, record, set_by, time) VALUES ",
    "(?, ?, ?, ?, ?)",
    "",
);
static DECISIONS: Statement = Statement::new(
    "INSERT OR FAIL INTO decision \
     (revision_id, sequence, decision_id, comment_id, decider, time, record) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?)",
    "",
);
static NEW: Statement = Statement::new(
    "INSERT OR FAIL INTO comment (comment_id, site, post_id, parent_id, author_id, author_name, \
     create_time, revision, deleted, verdict, open, open_time) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "",
);
static SETTLE: Statement = Statement::new(
    "WITH s (comment_id, verdict, open, open_time) AS (VALUES ",
    "(?, ?, ?, ?)",
    ") UPDATE comment SET verdict = s.verdict, open = s.open, open_time = s.open_time \
     FROM s WHERE comment.comment_id = s.comment_id",
);
static AUTHORS: Statement = Statement::new(
    "INSERT INTO author (site, author_id, approved, rejected) VALUES ",
    "(?, ?, ?, ?)",
    " ON CONFLICT (site, author_id) DO UPDATE SET approved = approved + excluded.approved, \
     rejected = rejected + excluded.rejected",
);

pub(super) async fn policies(
    connection: &mut SqliteConnection,
    policies: &[(&Event, &PolicySet)],
) -> Result<(), sqlx::Error> {
    POLICIES
        .execute(connection, policies, |query, (event, set)| {
            query
                .bind(event.site.as_str())
                .bind(set.version)
                .bind(set.encode_to_vec())
                .bind(event.actor.as_str())
                .bind(event.time.micros())
        })
        .await
}

pub(super) async fn decisions(
    connection: &mut SqliteConnection,
    decisions: &[(&Event, &RevisionDecided)],
) -> Result<(), sqlx::Error> {
    DECISIONS
        .execute(connection, decisions, |query, (event, decided)| {
            query
                .bind(decided.revision_id.as_ref())
                .bind(event.sequence.as_i64())
                .bind(event.id.as_bytes().as_slice())
                .bind(event.aggregate.map(|id| id.as_bytes().to_vec()))
                .bind(event.actor.as_str())
                .bind(event.time.micros())
                .bind(encode(decided))
        })
        .await
}

/// Keeps the comments that are new, what follows from the decisions on all of them, and
/// what changes by it for their authors.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    comments: impl Iterator<Item = &Comment>,
) -> Result<(), sqlx::Error> {
    let mut new: Vec<(&Comment, &New, Settled)> = Vec::new();
    let mut settled: Vec<(&Comment, Settled)> = Vec::new();
    let mut authors: HashMap<(&Site, &str), (i64, i64)> = HashMap::new();
    for comment in comments {
        let now = domain::settle(comment);
        match &comment.new {
            Some(row) => new.push((comment, row, now)),
            None if now == comment.settled => continue,
            None => settled.push((comment, now)),
        }
        let author = authors.entry((&comment.site, &comment.author_id)).or_default();
        for (verdict, by) in [(comment.settled.verdict, -1), (now.verdict, 1)] {
            match verdict {
                Some(Verdict::Approved) => author.0 += by,
                Some(Verdict::Rejected) => author.1 += by,
                None => {}
            }
        }
    }
    // In the order of the table, so that neighbours are written together.
    new.sort_unstable_by_key(|(comment, ..)| comment.id);
    NEW.execute(connection, &new, |query, (comment, new, settled)| {
        query
            .bind(comment.id.as_bytes().as_slice())
            .bind(comment.site.as_str())
            .bind(comment.post_id.as_bytes().as_slice())
            .bind(new.parent_id.as_ref().map(|id| id.as_bytes().as_slice()))
            .bind(comment.author_id.as_str())
            .bind(new.author_name.as_str())
            .bind(new.create_time.micros())
            .bind(comment.revisions.last_key_value().map_or(0, |(number, _)| *number))
            .bind(comment.deleted)
            .bind(settled.verdict.map(verdict_number))
            .bind(settled.open)
            .bind(settled.open_time.map(Time::micros))
    })
    .await?;
    SETTLE
        .execute(connection, &settled, |query, (comment, settled)| {
            query
                .bind(comment.id.as_bytes().as_slice())
                .bind(settled.verdict.map(verdict_number))
                .bind(settled.open)
                .bind(settled.open_time.map(Time::micros))
        })
        .await?;
    let authors: Vec<_> = authors.into_iter().filter(|(_, counts)| *counts != (0, 0)).collect();
    AUTHORS
        .execute(connection, &authors, |query, ((site, author), (approved, rejected))| {
            query.bind(site.as_str()).bind(*author).bind(*approved).bind(*rejected)
        })
        .await
}

const fn verdict_number(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::Approved => 2,
        Verdict::Rejected => 3,
    }
}
