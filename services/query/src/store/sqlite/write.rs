use std::sync::Arc;

use bus_schema::{RevisionId, Time};
use eventstore::database::bulk::Statement;
use sqlx::SqliteConnection;

use crate::domain::{Comment, Early, Post, Revision, State};

static POSTS: Statement = Statement::new(
    "INSERT INTO post (post_id, known, site, external_key, title, body, author_id, author_name, \
     revision, state, create_time, update_time, approve_time, activity_time, comments) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (post_id) DO UPDATE SET known = excluded.known, site = excluded.site, \
     external_key = excluded.external_key, title = excluded.title, body = excluded.body, \
     author_id = excluded.author_id, author_name = excluded.author_name, \
     revision = excluded.revision, state = excluded.state, \
     create_time = excluded.create_time, update_time = excluded.update_time, \
     approve_time = excluded.approve_time, activity_time = excluded.activity_time, \
     comments = excluded.comments",
);
static COMMENTS: Statement = Statement::new(
    "INSERT INTO comment (comment_id, known, post_id, parent_key, depth, author_id, author_name, \
     create_time, deleted, newest, shown, open, replies) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (comment_id) DO UPDATE SET known = excluded.known, \
     parent_key = excluded.parent_key, depth = excluded.depth, \
     author_id = excluded.author_id, author_name = excluded.author_name, \
     create_time = excluded.create_time, deleted = excluded.deleted, \
     newest = excluded.newest, shown = excluded.shown, open = excluded.open, \
     replies = excluded.replies",
);
/// For comments that were not there before: cheaper by what an upsert does to be undone.
static NEW_COMMENTS: Statement = Statement::new(
    "INSERT OR FAIL INTO comment (comment_id, known, post_id, parent_key, depth, author_id, \
     author_name, create_time, deleted, newest, shown, open, replies) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "",
);
static REVISIONS: Statement = Statement::new(
    "INSERT OR FAIL INTO revision \
     (comment_id, revision, revision_id, body, time, decision, decided_by) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?)",
    "",
);
static DECISIONS: Statement = Statement::new(
    "WITH d (comment_id, revision, decision, decided_by) AS (VALUES ",
    "(?, ?, ?, ?)",
    ") UPDATE revision SET decision = d.decision, decided_by = d.decided_by FROM d \
     WHERE revision.comment_id = d.comment_id AND revision.revision = d.revision",
);
static EARLY: Statement = Statement::new(
    "INSERT INTO early_decision (revision_id, decision, decided_by) VALUES ",
    "(?, ?, ?)",
    " ON CONFLICT (revision_id) DO UPDATE SET decision = excluded.decision, \
     decided_by = excluded.decided_by",
);
static FOUND: Statement =
    Statement::new("DELETE FROM early_decision WHERE revision_id IN (", "?", ")");

/// Writes what the fold has changed.
pub(super) async fn changed(
    connection: &mut SqliteConnection,
    state: &State,
) -> Result<(), sqlx::Error> {
    let posts = state.posts.values().filter(|row| row.changed).map(|row| &row.now);
    self::posts(connection, &posts.collect::<Vec<_>>()).await?;
    let mut comments: Vec<_> = state.comments.values().filter(|row| row.changed).collect();
    // In the order of the table, so that neighbours are written together.
    comments.sort_unstable_by_key(|row| row.now.id);
    for (statement, is_new) in [(&NEW_COMMENTS, true), (&COMMENTS, false)] {
        let rows = comments.iter().filter(|row| row.is_new == is_new).map(|row| &row.now);
        self::comments(connection, statement, &rows.collect::<Vec<_>>()).await?;
    }
    let comments: Vec<&Comment> = comments.iter().map(|row| &row.now).collect();
    revisions(connection, &comments).await?;
    early(connection, state).await
}

async fn posts(connection: &mut SqliteConnection, posts: &[&Post]) -> Result<(), sqlx::Error> {
    POSTS
        .execute(connection, posts, |query, post| {
            query
                .bind(post.id.as_bytes().as_slice())
                .bind(post.known)
                .bind(post.site.as_str())
                .bind(post.external_key.as_deref())
                .bind(post.title.as_str())
                .bind(post.body.as_str())
                .bind(post.author.id.as_str())
                .bind(post.author.name.as_str())
                .bind(post.revision)
                .bind(post.state.number())
                .bind(post.create_time.micros())
                .bind(post.update_time.micros())
                .bind(post.approve_time.map_or(0, Time::micros))
                .bind(post.activity_time().micros())
                .bind(post.comments)
        })
        .await
}

async fn comments(
    connection: &mut SqliteConnection,
    statement: &'static Statement,
    comments: &[&Comment],
) -> Result<(), sqlx::Error> {
    statement
        .execute(connection, comments, |query, comment| {
            let parent_key = match &comment.parent_id {
                Some(parent) => parent.as_bytes(),
                None => comment.post_id.as_bytes(),
            };
            let shown = comment.shown();
            query
                .bind(comment.id.as_bytes().as_slice())
                .bind(comment.known)
                .bind(comment.post_id.as_bytes().as_slice())
                .bind(parent_key.as_slice())
                .bind(comment.depth)
                .bind(comment.author.id.as_str())
                .bind(comment.author.name.as_str())
                .bind(comment.create_time.micros())
                .bind(comment.deleted)
                .bind(comment.newest())
                .bind(shown)
                .bind(shown > 0)
                .bind(comment.replies)
        })
        .await
}

/// New revisions with their texts, and decisions on those that were there.
async fn revisions(
    connection: &mut SqliteConnection,
    comments: &[&Comment],
) -> Result<(), sqlx::Error> {
    let (mut new, mut decided) = (Vec::new(), Vec::new());
    for comment in comments {
        for revision in &comment.revisions {
            match &revision.body {
                Some(body) => new.push((comment, revision, body)),
                None if revision.changed => decided.push((comment, revision)),
                None => {}
            }
        }
    }
    REVISIONS
        .execute(connection, &new, |query, (comment, revision, body)| {
            query
                .bind(comment.id.as_bytes().as_slice())
                .bind(revision.number)
                .bind(revision.id.as_bytes().as_slice())
                .bind(Arc::clone(body))
                .bind(revision.time.micros())
                .bind(decision_number(revision))
                .bind(revision.decided_by.as_i64())
        })
        .await?;
    DECISIONS
        .execute(connection, &decided, |query, (comment, revision)| {
            query
                .bind(comment.id.as_bytes().as_slice())
                .bind(revision.number)
                .bind(decision_number(revision))
                .bind(revision.decided_by.as_i64())
        })
        .await
}

fn decision_number(revision: &Revision) -> i32 {
    revision.decision.into()
}

async fn early(connection: &mut SqliteConnection, state: &State) -> Result<(), sqlx::Error> {
    let kept = state.early.iter().filter_map(|(id, early)| Some((*id, (*early)?)));
    let kept: Vec<(RevisionId, Early)> = kept.collect();
    EARLY
        .execute(connection, &kept, |query, (id, early)| {
            query
                .bind(id.as_bytes().as_slice())
                .bind(i32::from(early.decision))
                .bind(early.decided_by.as_i64())
        })
        .await?;
    let found = state.early.iter().filter(|(_, early)| early.is_none()).map(|(id, _)| *id);
    let found: Vec<RevisionId> = found.collect();
    FOUND.execute(connection, &found, |query, id| query.bind(id.as_bytes().as_slice())).await
}
