use std::collections::HashMap;

use bus_schema::{Event, PostId, Site, Source};
use eventstore::{
    database::{bulk::Statement, rows::parse},
    domain::Forgetting,
};
use sqlx::{FromRow as _, Pool, SqliteConnection, migrate::Migrator};

use super::{
    Store, changed, forgetting, left, named_revisions, new_texts, reader::Reader, rows, taken_keys,
    touched,
};
use crate::domain::{Command, Post, Posts, State};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

static LOAD: Statement = Statement::new(
    "SELECT p.post_id, p.site, p.external_key, p.author_id, p.author_name, r.title, r.body, \
     p.state, p.revision, p.create_time, p.update_time \
     FROM post p JOIN revision r USING (post_id, revision) \
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
    type Reader = Reader<sqlx::Sqlite>;

    fn reader(pool: Pool<sqlx::Sqlite>) -> Self::Reader {
        Reader { pool }
    }
}

impl eventstore::Store for Sqlite {
    type Domain = Posts;
    type Backend = sqlx::Sqlite;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        commands: &[&Command],
    ) -> Result<State, sqlx::Error> {
        let posts = load_posts(connection, &changed(commands)).await?;
        let keys = load_keys(connection, &taken_keys(commands)).await?;
        let texts = posts.values().map(|post| ((post.id, post.revision), post.text.clone()));
        let texts = texts.collect();
        Ok(State { posts, keys, texts })
    }

    async fn load_for(
        &self,
        connection: &mut SqliteConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let posts = load_posts(connection, &touched(events)).await?;
        let named = named_revisions(events);
        let found = LOAD_TEXTS
            .fetch(connection, &named, |query, (id, revision)| {
                query.bind(id.as_bytes().as_slice()).bind(*revision)
            })
            .await?;
        let texts = found.iter().map(|row| rows::Revision::from_row(row)?.try_into());
        let texts = texts.collect::<Result<_, sqlx::Error>>()?;
        Ok(State { posts, keys: HashMap::new(), texts })
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        WRITE
            .execute(connection, &left(state, events), |query, post| {
                query
                    .bind(post.id.as_bytes().as_slice())
                    .bind(post.site.as_str())
                    .bind(post.external_key.as_deref())
                    .bind(post.author.id.as_str())
                    .bind(post.author.name.as_str())
                    .bind(post.state.number())
                    .bind(post.revision)
                    .bind(post.create_time.micros())
                    .bind(post.update_time.micros())
            })
            .await?;
        WRITE_TEXTS
            .execute(connection, &new_texts(state, events), |query, ((id, revision), text)| {
                query
                    .bind(id.as_bytes().as_slice())
                    .bind(*revision)
                    .bind(text.title.as_str())
                    .bind(text.body.as_str())
            })
            .await
    }

    fn forgetting(source: Source) -> Forgetting {
        forgetting(source)
    }
}

async fn load_posts(
    connection: &mut SqliteConnection,
    ids: &[PostId],
) -> Result<HashMap<PostId, Post>, sqlx::Error> {
    let found =
        LOAD.fetch(connection, ids, |query, id| query.bind(id.as_bytes().as_slice())).await?;
    let posts = found.iter().map(|row| Post::try_from(rows::Post::from_row(row)?));
    posts.map(|post| post.map(|post| (post.id, post))).collect()
}

/// Which posts have these keys.
async fn load_keys(
    connection: &mut SqliteConnection,
    keys: &[(Site, String)],
) -> Result<HashMap<(Site, String), PostId>, sqlx::Error> {
    let found = LOAD_KEYS
        .fetch(connection, keys, |query, (site, key)| query.bind(site.as_str()).bind(key.as_str()))
        .await?;
    found
        .iter()
        .map(|row| {
            let row = rows::Key::from_row(row)?;
            Ok(((parse("site", &row.site)?, row.external_key), row.post_id.into()))
        })
        .collect()
}
