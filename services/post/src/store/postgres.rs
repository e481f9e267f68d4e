use std::collections::HashMap;

use bus_schema::{Event, PostId, Site, Source};
use eventstore::{
    database::{
        bulk::column,
        rows::{parse, signed},
    },
    domain::Forgetting,
};
use sqlx::{PgConnection, Pool, migrate::Migrator};

use super::{
    Store, changed, forgetting, left, named_revisions, new_texts, reader::Reader, rows, taken_keys,
    touched,
};
use crate::domain::{Command, Post, Posts, State};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The state of posts in PostgreSQL.
pub struct Postgres;

impl Store for Postgres {
    type Reader = Reader<sqlx::Postgres>;

    fn reader(pool: Pool<sqlx::Postgres>) -> Self::Reader {
        Reader { pool }
    }
}

impl eventstore::Store for Postgres {
    type Domain = Posts;
    type Backend = sqlx::Postgres;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn load(
        &self,
        connection: &mut PgConnection,
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
        connection: &mut PgConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let posts = load_posts(connection, &touched(events)).await?;
        let named = named_revisions(events);
        let mut texts = HashMap::new();
        if !named.is_empty() {
            let found: Vec<rows::Revision> = sqlx::query_as(
                "SELECT post_id, revision, title, body FROM revision \
                 WHERE (post_id, revision) IN (SELECT * FROM UNNEST($1::uuid[], $2::int[]))",
            )
            .bind(column(&named, |(id, _)| id.uuid()))
            .bind(column(&named, |(_, revision)| signed(*revision)))
            .fetch_all(connection)
            .await?;
            texts = found.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        }
        Ok(State { posts, keys: HashMap::new(), texts })
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        let posts = left(state, events);
        let texts = new_texts(state, events);
        sqlx::query(
            "WITH text AS (\
                 INSERT INTO revision (post_id, revision, title, body) \
                 SELECT * FROM UNNEST($10::uuid[], $11::int[], $12::text[], $13::text[])\
             ) INSERT INTO post (post_id, site, external_key, author_id, author_name, state, \
             revision, create_time, update_time) SELECT * FROM UNNEST(\
                 $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], \
                 $7::int[], $8::bigint[], $9::bigint[]\
             ) ON CONFLICT (post_id) DO UPDATE SET state = excluded.state, \
             revision = excluded.revision, update_time = excluded.update_time",
        )
        .bind(column(&posts, |post| post.id.uuid()))
        .bind(column(&posts, |post| post.site.as_str()))
        .bind(column(&posts, |post| post.external_key.as_deref()))
        .bind(column(&posts, |post| post.author.id.as_str()))
        .bind(column(&posts, |post| post.author.name.as_str()))
        .bind(column(&posts, |post| post.state.number()))
        .bind(column(&posts, |post| signed(post.revision)))
        .bind(column(&posts, |post| post.create_time.micros()))
        .bind(column(&posts, |post| post.update_time.micros()))
        .bind(column(&texts, |((id, _), _)| id.uuid()))
        .bind(column(&texts, |((_, revision), _)| signed(*revision)))
        .bind(column(&texts, |(_, text)| text.title.as_str()))
        .bind(column(&texts, |(_, text)| text.body.as_str()))
        .execute(connection)
        .await?;
        Ok(())
    }

    fn forgetting(source: Source) -> Forgetting {
        forgetting(source)
    }
}

async fn load_posts(
    connection: &mut PgConnection,
    ids: &[PostId],
) -> Result<HashMap<PostId, Post>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<rows::Post> = sqlx::query_as(
        "SELECT p.post_id, p.site, p.external_key, p.author_id, p.author_name, r.title, r.body, \
         p.state, p.revision, p.create_time, p.update_time \
         FROM post p JOIN revision r USING (post_id, revision) \
         WHERE p.post_id = ANY($1)",
    )
    .bind(column(ids, |id| id.uuid()))
    .fetch_all(connection)
    .await?;
    let posts = found.into_iter().map(Post::try_from);
    posts.map(|post| post.map(|post| (post.id, post))).collect()
}

/// Which posts have these keys.
async fn load_keys(
    connection: &mut PgConnection,
    keys: &[(Site, String)],
) -> Result<HashMap<(Site, String), PostId>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<rows::Key> = sqlx::query_as(
        "SELECT site, external_key, post_id FROM post WHERE state <> 3 \
         AND (site, external_key) IN (SELECT * FROM UNNEST($1::text[], $2::text[]))",
    )
    .bind(column(keys, |(site, _)| site.as_str()))
    .bind(column(keys, |(_, key)| key.as_str()))
    .fetch_all(connection)
    .await?;
    found
        .into_iter()
        .map(|row| Ok(((parse("site", &row.site)?, row.external_key), row.post_id.into())))
        .collect()
}
