use std::collections::HashMap;

use bus_schema::{Event, Kind, PostId, Site, Source, Time};
use chassis::{
    bulk::{Statement, distinct},
    owner::{ConsumeError, Consumed, Store},
};
use futures::TryStreamExt as _;
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::{Cursor, Key, MAX_PAGE_BYTES, Page};
use crate::{
    consumer,
    domain::{Author, Command, Post, PostState, Posts, State, Text},
};

static LOAD: Statement = Statement::new(
    "SELECT p.*, r.title, r.body FROM post p JOIN revision r USING (post_id, revision) \
     WHERE p.post_id IN (",
    "?",
    ")",
);
static LOAD_KEYS: Statement = Statement::new(
    "SELECT site, external_key, post_id FROM post \
     WHERE state <> 3 AND (site, external_key) IN (VALUES ",
    "(?, ?)",
    ")",
);
static LOAD_TEXTS: Statement = Statement::new(
    "SELECT post_id, revision, title, body FROM revision \
     WHERE (post_id, revision) IN (VALUES ",
    "(?, ?)",
    ")",
);
static WRITE: Statement = Statement::new(
    "INSERT INTO post (post_id, site, external_key, author_id, author_name, state, revision, \
     create_time, update_time) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (post_id) DO UPDATE SET state = excluded.state, \
     revision = excluded.revision, update_time = excluded.update_time",
);
static WRITE_TEXTS: Statement = Statement::new(
    "INSERT OR FAIL INTO revision (post_id, revision, title, body) VALUES ",
    "(?, ?, ?, ?)",
    "",
);

/// The state of posts in SQLite.
pub struct Sqlite;

impl Store for Sqlite {
    type Domain = Posts;
    type Backend = sqlx::Sqlite;

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        commands: &[&Command],
    ) -> Result<State, sqlx::Error> {
        let changed = commands.iter().filter_map(|command| match command {
            Command::Change { post_id, .. } => Some(*post_id),
            Command::Create { .. } => None,
        });
        let posts = load_posts(connection, distinct(changed)).await?;
        let keys = commands.iter().filter_map(|command| match command {
            Command::Create { site, external_key, .. } => {
                Some((site.clone(), external_key.clone()?))
            }
            Command::Change { .. } => None,
        });
        let keys = load_keys(connection, keys.collect()).await?;
        let texts = posts.values().map(|post| ((post.id, post.revision), post.text.clone()));
        let texts = texts.collect();
        Ok(State { posts, keys, texts })
    }

    async fn load_for(
        &self,
        connection: &mut SqliteConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let ids = events.iter().filter_map(|event| event.post_id);
        let posts = load_posts(connection, distinct(ids)).await?;
        let named = events.iter().filter_map(|event| match &event.kind {
            Kind::PostClosed(closed) => Some((event.post_id?, closed.revision)),
            Kind::PostReopened(reopened) => Some((event.post_id?, reopened.revision)),
            _ => None,
        });
        let rows = LOAD_TEXTS
            .fetch(connection, &distinct(named), |query, (id, revision)| {
                query.bind(id.as_bytes().as_slice()).bind(*revision)
            })
            .await?;
        let texts = rows.iter().map(|row| Ok(((id(row)?, row.try_get("revision")?), text(row)?)));
        let texts = texts.collect::<Result<_, sqlx::Error>>()?;
        Ok(State { posts, keys: HashMap::new(), texts })
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        let ids = distinct(events.iter().filter_map(|event| event.post_id));
        let posts: Vec<&Post> = ids.iter().filter_map(|id| state.posts.get(id)).collect();
        WRITE
            .execute(connection, &posts, |query, post| {
                query
                    .bind(post.id.as_bytes().as_slice())
                    .bind(post.site.as_str())
                    .bind(post.external_key.as_deref())
                    .bind(post.author.id.as_str())
                    .bind(post.author.name.as_str())
                    .bind(state_number(post.state))
                    .bind(post.revision)
                    .bind(post.create_time.micros())
                    .bind(post.update_time.micros())
            })
            .await?;

        let revisions = events.iter().filter_map(|event| match &event.kind {
            Kind::PostCreated(_) => Some((event.post_id?, 1)),
            Kind::PostUpdated(updated) => Some((event.post_id?, updated.revision)),
            _ => None,
        });
        let texts: Vec<_> =
            revisions.filter_map(|key| Some((key, state.texts.get(&key)?))).collect();
        WRITE_TEXTS
            .execute(connection, &texts, |query, ((id, revision), text)| {
                query
                    .bind(id.as_bytes().as_slice())
                    .bind(*revision)
                    .bind(text.title.as_str())
                    .bind(text.body.as_str())
            })
            .await
    }

    async fn consume(
        &self,
        _connection: &mut SqliteConnection,
        source: Source,
        events: &[Event],
    ) -> Result<Consumed<State>, ConsumeError> {
        consumer::consume(source, events)?;
        Ok(Consumed::default())
    }
}

async fn load_posts(
    connection: &mut SqliteConnection,
    ids: Vec<PostId>,
) -> Result<HashMap<PostId, Post>, sqlx::Error> {
    let rows =
        LOAD.fetch(connection, &ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    rows.iter().map(|row| post(row).map(|post| (post.id, post))).collect()
}

/// Which posts have these keys.
async fn load_keys(
    connection: &mut SqliteConnection,
    keys: Vec<(Site, String)>,
) -> Result<HashMap<(Site, String), PostId>, sqlx::Error> {
    let rows = LOAD_KEYS
        .fetch(connection, &distinct(keys.into_iter()), |query, (site, key)| {
            query.bind(site.as_str()).bind(key.as_str())
        })
        .await?;
    rows.iter().map(|row| Ok(((site(row)?, row.try_get("external_key")?), id(row)?))).collect()
}

/// Reads posts, on connections of its own.
#[derive(Clone)]
pub struct Reader {
    pool: SqlitePool,
}

impl Reader {
    /// A reader on these connections.
    pub const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// One post of a site; deleted ones too, if they are asked for by id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn post(&self, site: &Site, key: &Key) -> Result<Option<Post>, sqlx::Error> {
        let row = match key {
            Key::Id(id) => {
                sqlx::query(
                    "SELECT p.*, r.title, r.body FROM post p \
                     JOIN revision r USING (post_id, revision) \
                     WHERE p.post_id = ? AND p.site = ?",
                )
                .bind(id.as_bytes().as_slice())
                .bind(site.as_str())
                .fetch_optional(&self.pool)
                .await?
            }
            Key::External(key) => {
                sqlx::query(
                    "SELECT p.*, r.title, r.body FROM post p \
                     JOIN revision r USING (post_id, revision) \
                     WHERE p.site = ? AND p.external_key = ? AND p.state <> 3",
                )
                .bind(site.as_str())
                .bind(key.as_str())
                .fetch_optional(&self.pool)
                .await?
            }
        };
        row.as_ref().map(post).transpose()
    }

    /// A site's posts that are not deleted, newest first, after the cursor: at most
    /// `size` and [`MAX_PAGE_BYTES`].
    ///
    /// # Errors
    /// What the database says.
    pub async fn posts(
        &self,
        site: &Site,
        after: Option<Cursor>,
        size: usize,
    ) -> Result<Page, sqlx::Error> {
        let after = after.unwrap_or(Cursor { create_time: i64::MAX, post_id: uuid::Uuid::max() });
        let mut rows = sqlx::query(
            "SELECT p.*, r.title, r.body FROM post p \
             JOIN revision r USING (post_id, revision) \
             WHERE p.site = ? AND p.state <> 3 AND (p.create_time, p.post_id) < (?, ?) \
             ORDER BY p.create_time DESC, p.post_id DESC LIMIT ?",
        )
        .bind(site.as_str())
        .bind(after.create_time)
        .bind(after.post_id.as_bytes().as_slice())
        // One more tells whether anything follows.
        .bind(size as i64 + 1)
        .fetch(&self.pool);

        let (mut posts, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            let post = post(&row)?;
            bytes += size_of_texts(&post);
            if posts.len() == size || (bytes > MAX_PAGE_BYTES && !posts.is_empty()) {
                return Ok(Page { posts, is_last: false });
            }
            posts.push(post);
        }
        Ok(Page { posts, is_last: true })
    }
}

fn size_of_texts(post: &Post) -> usize {
    let Post { text, author, external_key, .. } = post;
    let key = external_key.as_ref().map_or(0, String::len);
    text.title.len() + text.body.len() + author.id.len() + author.name.len() + key
}

fn post(row: &SqliteRow) -> Result<Post, sqlx::Error> {
    let state = match row.try_get("state")? {
        1 => PostState::Open,
        2 => PostState::Closed,
        3 => PostState::Deleted,
        other => return Err(invalid("state", format!("{other} is no state"))),
    };
    let text = if state == PostState::Deleted { Text::default() } else { text(row)? };
    Ok(Post {
        id: id(row)?,
        site: site(row)?,
        external_key: row.try_get("external_key")?,
        author: Author { id: row.try_get("author_id")?, name: row.try_get("author_name")? },
        text,
        revision: row.try_get("revision")?,
        state,
        create_time: Time::from_micros(row.try_get("create_time")?),
        update_time: Time::from_micros(row.try_get("update_time")?),
    })
}

const fn state_number(state: PostState) -> i64 {
    match state {
        PostState::Open => 1,
        PostState::Closed => 2,
        PostState::Deleted => 3,
    }
}

fn text(row: &SqliteRow) -> Result<Text, sqlx::Error> {
    Ok(Text { title: row.try_get("title")?, body: row.try_get("body")? })
}

fn id(row: &SqliteRow) -> Result<PostId, sqlx::Error> {
    PostId::from_slice(row.try_get("post_id")?).map_err(|error| invalid("post_id", error))
}

fn site(row: &SqliteRow) -> Result<Site, sqlx::Error> {
    let text: &str = row.try_get("site")?;
    text.parse().map_err(|error| invalid("site", error))
}

fn invalid(
    column: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() }
}
