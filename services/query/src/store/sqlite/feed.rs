use bus_schema::PostId;
use sqlx::SqliteConnection;

use super::rows::{self, post_columns};
use crate::{
    domain::Post,
    feed::{Cursor, Order},
};

macro_rules! feed {
    ($column:literal) => {
        concat!(
            "SELECT ",
            post_columns!(),
            " FROM post WHERE site = ?1 AND known AND state <> 3 AND (",
            $column,
            ", post_id) < (?2, ?3) ORDER BY ",
            $column,
            " DESC, post_id DESC LIMIT ?4"
        )
    };
}

/// A site's posts that are not deleted, after the cursor.
pub(super) async fn feed(
    connection: &mut SqliteConnection,
    site: &str,
    order: Order,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Vec<Post>, sqlx::Error> {
    let text = match order {
        Order::LastActivity => feed!("activity_time"),
        Order::Newest => feed!("create_time"),
    };
    let (time, id) =
        after.map_or((i64::MAX, uuid::Uuid::max()), |after| (after.time, after.post_id));
    let rows = sqlx::query(text)
        .bind(site)
        .bind(time)
        .bind(id.as_bytes().as_slice())
        .bind(limit as i64)
        .fetch_all(connection)
        .await?;
    rows.iter().map(rows::post).collect()
}

/// A site's post by its id; deleted ones too.
pub(super) async fn by_id(
    connection: &mut SqliteConnection,
    site: &str,
    id: PostId,
) -> Result<Option<Post>, sqlx::Error> {
    let row = sqlx::query(concat!(
        "SELECT ",
        post_columns!(),
        " FROM post WHERE post_id = ? AND site = ? AND known"
    ))
    .bind(id.as_bytes().as_slice())
    .bind(site)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(rows::post).transpose()
}

/// A site's post by its external key.
pub(super) async fn by_key(
    connection: &mut SqliteConnection,
    site: &str,
    key: &str,
) -> Result<Option<Post>, sqlx::Error> {
    let row = sqlx::query(concat!(
        "SELECT ",
        post_columns!(),
        " FROM post WHERE site = ? AND external_key = ? AND known AND state <> 3"
    ))
    .bind(site)
    .bind(key)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(rows::post).transpose()
}
