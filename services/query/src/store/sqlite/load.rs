use bus_schema::{CommentId, PostId, RevisionId, Sequence};
use eventstore::database::bulk::Statement;
use sqlx::{Row as _, SqliteConnection};

use super::rows::{self, post_columns};
use crate::domain::{Early, Revision, State, Touched};

static POSTS: Statement =
    Statement::new(concat!("SELECT ", post_columns!(), " FROM post WHERE post_id IN ("), "?", ")");
static COMMENTS: Statement = Statement::new(
    "SELECT comment_id, known, post_id, parent_key, depth, author_id, author_name, create_time, \
     deleted, replies FROM comment WHERE comment_id IN (",
    "?",
    ")",
);
static REVISIONS: Statement = Statement::new(
    "SELECT comment_id, revision, revision_id, time, decision, decided_by FROM revision \
     WHERE comment_id IN (",
    "?",
    ")",
);
static EARLY: Statement = Statement::new(
    "SELECT revision_id, decision, decided_by FROM early_decision WHERE revision_id IN (",
    "?",
    ")",
);

/// Begins a transaction and loads what a batch touches.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
    touched: Touched,
) -> Result<State, sqlx::Error> {
    let row = sqlx::query(
        "BEGIN IMMEDIATE; SELECT (SELECT max(comment_id) FROM comment) AS newest, \
         EXISTS (SELECT 1 FROM early_decision) AS any_early",
    )
    .fetch_one(&mut *connection)
    .await?;
    let newest: Option<&[u8]> = row.try_get("newest")?;
    let newest = newest.map(CommentId::from_slice).transpose();
    let newest = newest.map_err(|error| rows::invalid("newest", error))?;

    let mut state = State::default();
    state.comments.reserve(touched.revisions.len());
    // Ids grow with time: most comments of a batch come after all that are there, and
    // need not be looked for.
    let Touched { mut posts, mut comments, mut revisions } = touched;
    comments.retain(|id| Some(*id) <= newest);
    // In the order of the tables, so that neighbours are found together.
    comments.sort_unstable();
    comments.dedup();
    self::comments(connection, &comments, &mut state).await?;
    posts.sort_unstable();
    posts.dedup();
    self::posts(connection, &posts, &mut state).await?;
    if row.try_get("any_early")? {
        revisions.sort_unstable();
        revisions.dedup();
        early(connection, &revisions, &mut state).await?;
    }
    Ok(state)
}

pub(super) async fn posts(
    connection: &mut SqliteConnection,
    ids: &[PostId],
    state: &mut State,
) -> Result<(), sqlx::Error> {
    let rows =
        POSTS.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    for row in &rows {
        state.load_post(rows::post(row)?);
    }
    Ok(())
}

/// Comments with all their revisions.
pub(super) async fn comments(
    connection: &mut SqliteConnection,
    ids: &[CommentId],
    state: &mut State,
) -> Result<(), sqlx::Error> {
    let rows =
        COMMENTS.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    let mut comments = Vec::with_capacity(rows.len());
    for row in &rows {
        comments.push(rows::comment(row)?);
    }
    comments.sort_unstable_by_key(|comment| comment.id);
    let found: Vec<CommentId> = comments.iter().map(|comment| comment.id).collect();
    let rows = REVISIONS
        .fetch(connection, &found, |query, id| query.bind(id.as_bytes().as_slice()))
        .await?;
    for row in &rows {
        let id = CommentId::from(rows::uuid(row, "comment_id")?);
        if let Ok(at) = found.binary_search(&id) {
            comments[at].add(Revision {
                number: row.try_get("revision")?,
                id: rows::uuid(row, "revision_id")?.into(),
                time: rows::time(row, "time")?,
                decision: rows::decision(row)?,
                decided_by: Sequence::from_i64(row.try_get("decided_by")?),
                body: None,
                changed: false,
            });
        }
    }
    for comment in comments {
        state.load_comment(comment);
    }
    Ok(())
}

async fn early(
    connection: &mut SqliteConnection,
    ids: &[RevisionId],
    state: &mut State,
) -> Result<(), sqlx::Error> {
    let rows =
        EARLY.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    for row in &rows {
        let early = Early {
            decision: rows::decision(row)?,
            decided_by: Sequence::from_i64(row.try_get("decided_by")?),
        };
        state.early.insert(rows::uuid(row, "revision_id")?.into(), Some(early));
    }
    Ok(())
}
