//! Reading posts: the same SQL on both kinds of database.

use bus_schema::Site;
use sqlx::{Database, Pool, Postgres, Sqlite};

use super::{Cursor, Key, Page, Read, page, rows};
use crate::domain::Post;

/// Posts with the text of their newest revision.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.post_id, p.site, p.external_key, p.author_id, p.author_name, r.title, r.body, \
             p.state, p.revision, p.create_time, p.update_time \
             FROM post p JOIN revision r USING (post_id, revision) WHERE ",
            $rest
        )
    };
}

const BY_ID: &str = select!("p.post_id = $1 AND p.site = $2");
const BY_KEY: &str = select!("p.external_key = $1 AND p.site = $2 AND p.state <> 3");
const LIST: &str = select!(
    "p.site = $1 AND p.state <> 3 AND (p.create_time, p.post_id) < ($2, $3) \
     ORDER BY p.create_time DESC, p.post_id DESC LIMIT $4"
);

/// Reads posts, on connections of its own.
pub struct Reader<B: Database> {
    pub(super) pool: Pool<B>,
}

impl<B: Database> Clone for Reader<B> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone() }
    }
}

macro_rules! reader {
    ($database:ty) => {
        impl Read for Reader<$database> {
            async fn post(&self, site: &Site, key: &Key) -> Result<Option<Post>, sqlx::Error> {
                let query = match key {
                    Key::Id(id) => sqlx::query_as(BY_ID).bind(id.uuid()),
                    Key::External(key) => sqlx::query_as(BY_KEY).bind(key.as_str()),
                };
                let row: Option<rows::Post> =
                    query.bind(site.as_str()).fetch_optional(&self.pool).await?;
                row.map(Post::try_from).transpose()
            }

            async fn posts(
                &self,
                site: &Site,
                after: Option<Cursor>,
                size: usize,
            ) -> Result<Page, sqlx::Error> {
                let after = after.unwrap_or(Cursor::START);
                let rows = sqlx::query_as(LIST)
                    .bind(site.as_str())
                    .bind(after.create_time)
                    .bind(after.post_id)
                    // One more tells whether anything follows.
                    .bind(size as i64 + 1)
                    .fetch(&self.pool);
                page(rows, size).await
            }
        }
    };
}

reader!(Sqlite);
reader!(Postgres);
