//! The databases of the services that own posts and comments, through the views that their
//! migrations define for others.

use std::collections::HashMap;

use bus_schema::{CommentId, PostId, PostState, Source, Time};
use chassis::failpoint;
use eventstore::{Position, database};
use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::rows::{CommentRow, PostRow, comment_columns, position, select_posts};
use crate::{
    config::{self, FallbackError},
    domain::Post,
    feed,
    store::{Absent, Page, PostKey, Seen, Wanted},
    thread::{Cursor, Order, Tree, fitting},
};

/// How many reads the owners are asked for at the same time: they have other work.
const MAX_READS: usize = 4;

type SqlResult<T> = Result<T, sqlx::Error>;

/// Both owners.
pub(crate) struct Owners {
    posts: Box<dyn Posts>,
    comments: Box<dyn Comments>,
    reads: Semaphore,
}

/// The post service's database.
trait Posts: Send + Sync {
    fn position(&self) -> BoxFuture<'_, SqlResult<Position>>;
    fn post<'a>(
        &'a self,
        site: &'a str,
        key: &'a PostKey,
    ) -> BoxFuture<'a, SqlResult<Option<Post>>>;
    fn feed<'a>(
        &'a self,
        site: &'a str,
        order: feed::Order,
        after: Option<feed::Cursor>,
        limit: usize,
    ) -> BoxFuture<'a, SqlResult<Vec<Post>>>;
}

/// The comment service's database.
trait Comments: Send + Sync {
    fn position(&self) -> BoxFuture<'_, SqlResult<Position>>;
    fn siblings(
        &self,
        post: PostId,
        parent: Option<CommentId>,
        order: Order,
        after: Option<(Time, CommentId)>,
        limit: usize,
    ) -> BoxFuture<'_, SqlResult<Vec<Seen>>>;
    fn replies<'a>(
        &'a self,
        parents: &'a [CommentId],
        order: Order,
        limit: usize,
    ) -> BoxFuture<'a, SqlResult<HashMap<CommentId, Vec<Seen>>>>;
    fn is_reachable(&self, post: PostId, id: CommentId) -> BoxFuture<'_, SqlResult<bool>>;
}

impl Owners {
    /// The owners' databases, which are connected to when they are first asked.
    pub(super) fn open(settings: &config::Fallback) -> Result<Option<Self>, FallbackError> {
        let Some((posts, comments)) = settings.places()? else { return Ok(None) };
        let readers = u32::try_from(MAX_READS).unwrap_or(1) + 1;
        let posts: Box<dyn Posts> = match posts {
            config::Place::File(path) => Box::new(database::file_readers(path, readers)),
            config::Place::Server(url) => Box::new(database::server_readers(url, readers)?),
        };
        let comments: Box<dyn Comments> = match comments {
            config::Place::File(path) => Box::new(database::file_readers(path, readers)),
            config::Place::Server(url) => Box::new(database::server_readers(url, readers)?),
        };
        Ok(Some(Self { posts, comments, reads: Semaphore::new(MAX_READS) }))
    }

    /// What a read that is made now includes of each source: where the owners' journals end,
    /// and which decisions the comment service has heard of.
    pub(super) async fn heads(&self) -> SqlResult<Position> {
        let posts = self.posts.position().await?.get(Source::Post);
        let comments = self.comments.position().await?;
        Ok(comments.with(Source::Post, posts))
    }

    /// A page of a thread, with what everybody may see.
    pub(super) async fn thread(&self, wanted: &Wanted) -> SqlResult<Result<Page, Absent>> {
        let _read = self.reads.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let Some(post) = self.posts.post(&wanted.site, &wanted.post).await? else {
            return Ok(Err(Absent::Post));
        };
        if post.state == PostState::Deleted {
            return Ok(Ok(Page { post, comments: Vec::new(), next: None }));
        }
        let parent = wanted.cursor.and_then(|cursor| cursor.parent);
        if let Some(parent) = parent
            && !self.comments.is_reachable(post.id, parent).await?
        {
            return Ok(Err(Absent::Comment));
        }
        let order = wanted.order;
        let after = wanted.cursor.and_then(|cursor| cursor.after);
        let limit = wanted.roots + 1;
        let mut roots = self.comments.siblings(post.id, parent, order, after, limit).await?;
        let fitting = fitting(&roots).min(wanted.roots);
        let more = roots.len() > fitting;
        roots.truncate(fitting);
        let last = roots.last().map(Seen::key);

        let mut tree = Tree::new(order, roots, wanted.replies_per_root);
        while let Some((parents, limit)) = tree.wanted() {
            tree.grow(self.comments.replies(&parents, order, limit).await?);
        }
        let next = more.then_some(Cursor { parent, after: last });
        Ok(Ok(Page { post, comments: tree.finish(), next }))
    }

    /// A site's posts that are not deleted, after the cursor.
    pub(super) async fn feed(
        &self,
        site: &str,
        order: feed::Order,
        after: Option<feed::Cursor>,
        limit: usize,
    ) -> SqlResult<Vec<Post>> {
        let _read = self.reads.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        self.posts.feed(site, order, after, limit).await
    }
}

/// A comment with what a page needs to know of it.
const COMMENT: &str = concat!(
    "SELECT ",
    comment_columns!(),
    ", EXISTS (SELECT 1 FROM public_comment_v1 x WHERE x.parent_id = c.comment_id) AS has_replies"
);

/// The comments that are shown.
fn comments() -> &'static str {
    const ALL: &str = concat!(
        "(SELECT ",
        comment_columns!(),
        " FROM comment JOIN revision USING (comment_id, revision))"
    );
    failpoint!(FallbackWithoutTheApprovalFilter => ALL, else "public_comment_v1")
}

const fn compare(order: Order) -> (&'static str, &'static str) {
    match order {
        Order::NewestFirst => ("<", "DESC"),
        Order::OldestFirst => (">", "ASC"),
    }
}

const fn start(order: Order) -> (i64, Uuid) {
    match order {
        Order::NewestFirst => (i64::MAX, Uuid::max()),
        Order::OldestFirst => (i64::MIN, Uuid::nil()),
    }
}

macro_rules! owners {
    ($pool:ty) => {
        impl Posts for $pool {
            fn position(&self) -> BoxFuture<'_, SqlResult<Position>> {
                Box::pin(async move {
                    let query = sqlx::query_as("SELECT source, sequence FROM position_v1");
                    position(query.fetch_all(self).await?)
                })
            }

            fn post<'a>(
                &'a self,
                site: &'a str,
                key: &'a PostKey,
            ) -> BoxFuture<'a, SqlResult<Option<Post>>> {
                Box::pin(async move {
                    let row: Option<PostRow> = match key {
                        PostKey::Id(id) => {
                            sqlx::query_as(select_posts!("post_id = $2"))
                            .bind(site)
                            .bind(id.uuid())
                            .fetch_optional(self)
                            .await?
                        }
                        PostKey::External(key) => {
                            sqlx::query_as(select_posts!("external_key = $2 AND state <> 3"))
                            .bind(site)
                            .bind(key)
                            .fetch_optional(self)
                            .await?
                        }
                    };
                    row.map(PostRow::parse).transpose()
                })
            }

            fn feed<'a>(
                &'a self,
                site: &'a str,
                order: feed::Order,
                after: Option<feed::Cursor>,
                limit: usize,
            ) -> BoxFuture<'a, SqlResult<Vec<Post>>> {
                Box::pin(async move {
                    let query = match order {
                        feed::Order::LastActivity => select_posts!(
                            "state <> 3 AND (update_time, post_id) < ($2, $3) \
                             ORDER BY update_time DESC, post_id DESC LIMIT $4"
                        ),
                        feed::Order::Newest => select_posts!(
                            "state <> 3 AND (create_time, post_id) < ($2, $3) \
                             ORDER BY create_time DESC, post_id DESC LIMIT $4"
                        ),
                    };
                    let (time, id) = after
                        .map_or((i64::MAX, Uuid::max()), |after| (after.time, after.post_id));
                    let rows: Vec<PostRow> = sqlx::query_as(query)
                        .bind(site)
                        .bind(time)
                        .bind(id)
                        .bind(limit as i64)
                        .fetch_all(self)
                        .await?;
                    rows.into_iter().map(PostRow::parse).collect()
                })
            }
        }

        impl Comments for $pool {
            fn position(&self) -> BoxFuture<'_, SqlResult<Position>> {
                Posts::position(self)
            }

            fn siblings(
                &self,
                post: PostId,
                parent: Option<CommentId>,
                order: Order,
                after: Option<(Time, CommentId)>,
                limit: usize,
            ) -> BoxFuture<'_, SqlResult<Vec<Seen>>> {
                Box::pin(async move {
                    let (compare, direction) = compare(order);
                    // By the index that each of the two has.
                    let under = match parent {
                        Some(_) => "c.parent_id = $1",
                        None => "c.post_id = $1 AND c.parent_id IS NULL",
                    };
                    let text = format!(
                        "{COMMENT} FROM {} c WHERE {under} \
                         AND (c.create_time, c.comment_id) {compare} ($2, $3) \
                         ORDER BY c.create_time {direction}, c.comment_id {direction} LIMIT $4",
                        comments()
                    );
                    let under = parent.map_or(post.uuid(), CommentId::uuid);
                    let (time, id) =
                        after.map_or(start(order), |(time, id)| (time.micros(), id.uuid()));
                    let rows: Vec<CommentRow> = sqlx::query_as(AssertSqlSafe(text))
                        .bind(under)
                        .bind(time)
                        .bind(id)
                        .bind(limit as i64)
                        .fetch_all(self)
                        .await?;
                    rows.into_iter().map(CommentRow::parse).collect()
                })
            }

            fn replies<'a>(
                &'a self,
                parents: &'a [CommentId],
                order: Order,
                limit: usize,
            ) -> BoxFuture<'a, SqlResult<HashMap<CommentId, Vec<Seen>>>> {
                Box::pin(async move {
                    let mut replies: HashMap<CommentId, Vec<Seen>> = HashMap::new();
                    if parents.is_empty() {
                        return Ok(replies);
                    }
                    let (_, direction) = compare(order);
                    let list: Vec<String> =
                        (2..parents.len() + 2).map(|number| format!("${number}")).collect();
                    let text = format!(
                        "SELECT {columns}, has_replies FROM ({COMMENT}, row_number() OVER (\
                         PARTITION BY c.parent_id \
                         ORDER BY c.create_time {direction}, c.comment_id {direction}) AS number \
                         FROM public_comment_v1 c WHERE c.parent_id IN ({})) r WHERE number <= $1",
                        list.join(", "),
                        columns = comment_columns!()
                    );
                    let mut query =
                        sqlx::query_as::<_, CommentRow>(AssertSqlSafe(text)).bind(limit as i64);
                    for parent in parents {
                        query = query.bind(parent.uuid());
                    }
                    for row in query.fetch_all(self).await? {
                        let seen = row.parse()?;
                        if let Some(parent) = seen.comment.parent_id {
                            replies.entry(parent).or_default().push(seen);
                        }
                    }
                    for siblings in replies.values_mut() {
                        order.sort(siblings);
                    }
                    Ok(replies)
                })
            }

            fn is_reachable(&self, post: PostId, id: CommentId) -> BoxFuture<'_, SqlResult<bool>> {
                Box::pin(async move {
                    // Its depth is the number of comments from the post to it.
                    let found: (i64, Option<i32>) = sqlx::query_as(
                        "WITH RECURSIVE up (comment_id, parent_id, depth) AS (\
                             SELECT comment_id, parent_id, depth FROM public_comment_v1 \
                             WHERE comment_id = $1 AND post_id = $2 \
                             UNION ALL \
                             SELECT c.comment_id, c.parent_id, c.depth FROM public_comment_v1 c \
                             JOIN up ON c.comment_id = up.parent_id\
                         ) SELECT count(*), max(depth) FROM up",
                    )
                    .bind(id.uuid())
                    .bind(post.uuid())
                    .fetch_one(self)
                    .await?;
                    let (count, depth) = found;
                    Ok(depth.is_some_and(|depth| count == i64::from(depth)))
                })
            }
        }
    };
}

owners!(SqlitePool);
owners!(PgPool);
