use std::collections::HashMap;

use bus_schema::{CommentId, RevisionId, Site};
use eventstore::database::{bulk::column, rows::signed};
use sqlx::PgConnection;

use super::super::{
    consume::{self, SqlResult},
    rows,
};
use crate::{consumer::Said, domain::Comment, rules::TextHash};

/// The tables, in a transaction.
pub(super) struct Tables<'c>(pub(super) &'c mut PgConnection);

impl consume::Tables for Tables<'_> {
    async fn keep(&mut self, said: &Said<'_>) -> SqlResult<()> {
        let revisions = &said.revisions;
        if !revisions.is_empty() {
            sqlx::query(
                "INSERT INTO revision (comment_id, revision, revision_id, body, time) \
                 SELECT * FROM \
                 UNNEST($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::bigint[])",
            )
            .bind(column(revisions, |revision| revision.comment_id.uuid()))
            .bind(column(revisions, |revision| signed(revision.number)))
            .bind(column(revisions, |revision| revision.event.id.uuid()))
            .bind(column(revisions, |revision| revision.body))
            .bind(column(revisions, |revision| revision.event.time.micros()))
            .execute(&mut *self.0)
            .await?;
        }
        if !said.updated.is_empty() {
            let updated: Vec<_> = said.updated.iter().collect();
            sqlx::query(
                "UPDATE comment SET revision = u.revision \
                 FROM UNNEST($1::uuid[], $2::int[]) AS u (comment_id, revision) \
                 WHERE comment.comment_id = u.comment_id",
            )
            .bind(column(&updated, |(id, _)| id.uuid()))
            .bind(column(&updated, |(_, revision)| signed(**revision)))
            .execute(&mut *self.0)
            .await?;
        }
        if !said.deleted.is_empty() {
            sqlx::query(
                "UPDATE comment SET deleted = true, open = false WHERE comment_id = ANY($1)",
            )
            .bind(column(&said.deleted, |id| id.uuid()))
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn decisions(&mut self, revisions: &[RevisionId]) -> SqlResult<Vec<rows::Decision>> {
        sqlx::query_as(
            "SELECT revision_id, sequence, decision_id, decider, time, record FROM decision \
             WHERE revision_id = ANY($1) ORDER BY revision_id, sequence",
        )
        .bind(column(revisions, |id| id.uuid()))
        .fetch_all(&mut *self.0)
        .await
    }

    async fn comments(&mut self, ids: &[CommentId]) -> SqlResult<HashMap<CommentId, Comment>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = column(ids, |id| id.uuid());
        let comments = sqlx::query_as(
            "SELECT comment_id, site, post_id, author_id, deleted, verdict, open, open_time \
             FROM comment WHERE comment_id = ANY($1)",
        )
        .bind(&ids)
        .fetch_all(&mut *self.0)
        .await?;
        let revisions = sqlx::query_as(
            "SELECT r.comment_id, r.revision, r.revision_id, \
             d.sequence, d.decision_id, d.decider, d.time, d.record \
             FROM revision r LEFT JOIN decision d USING (revision_id) \
             WHERE r.comment_id = ANY($1) ORDER BY r.comment_id, r.revision, d.sequence",
        )
        .bind(&ids)
        .fetch_all(&mut *self.0)
        .await?;
        rows::comments(comments, revisions)
    }

    async fn versions(&mut self, sites: &[Site]) -> SqlResult<Vec<rows::Version>> {
        sqlx::query_as(
            "SELECT site, max(version) AS version, max(time) AS time FROM policy WHERE site = ANY($1) GROUP BY site",
        )
        .bind(column(sites, Site::as_str))
        .fetch_all(&mut *self.0)
        .await
    }

    async fn policy(&mut self, site: &Site, version: u32) -> SqlResult<Vec<u8>> {
        sqlx::query_scalar("SELECT record FROM policy WHERE site = $1 AND version = $2")
            .bind(site.as_str())
            .bind(signed(version))
            .fetch_one(&mut *self.0)
            .await
    }

    async fn approved(&mut self, authors: &[(Site, String)]) -> SqlResult<Vec<rows::Approved>> {
        sqlx::query_as(
            "SELECT site, author_id, approved FROM author \
             WHERE (site, author_id) IN (SELECT * FROM UNNEST($1::text[], $2::text[]))",
        )
        .bind(column(authors, |(site, _)| site.as_str()))
        .bind(column(authors, |(_, author)| author.as_str()))
        .fetch_all(&mut *self.0)
        .await
    }

    async fn seen(&mut self, texts: &[(Site, TextHash)]) -> SqlResult<Vec<rows::Sighting>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(
            "SELECT site, text_hash, times FROM sighting \
             WHERE (site, text_hash) IN (SELECT * FROM UNNEST($1::text[], $2::bytea[]))",
        )
        .bind(column(texts, |(site, _)| site.as_str()))
        .bind(column(texts, |(_, hash)| hash.as_slice()))
        .fetch_all(&mut *self.0)
        .await
    }

    async fn see(&mut self, sightings: &[(&Site, &TextHash, Vec<u8>)]) -> SqlResult<()> {
        if sightings.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO sighting (site, text_hash, times) \
             SELECT * FROM UNNEST($1::text[], $2::bytea[], $3::bytea[]) \
             ON CONFLICT (site, text_hash) DO UPDATE SET times = excluded.times",
        )
        .bind(column(sightings, |(site, ..)| site.as_str()))
        .bind(column(sightings, |(_, hash, _)| hash.as_slice()))
        .bind(column(sightings, |(.., times)| times.as_slice()))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
