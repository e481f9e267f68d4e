use std::sync::{Arc, RwLock};

use bus_schema::{PostId, PostState};
use sqlx::{Acquire as _, Sqlite, SqliteConnection, SqlitePool, pool::PoolConnection};

use super::{
    Viewer,
    digest::{self, Digest},
    feed, thread,
};
use crate::{
    domain::Post,
    feed::{Cursor as FeedCursor, Order as FeedOrder},
    thread::{Cursor, Entry, Order, Tree, fitting},
};

/// Reads the view, on connections of its own. What belongs to one answer is read in one
/// transaction, which is short.
#[derive(Clone)]
pub struct Reader {
    /// To the view that is served, which a rebuild replaces.
    pool: Arc<RwLock<SqlitePool>>,
    letters: SqlitePool,
}

/// A page of a thread.
#[derive(Debug)]
pub struct Page {
    /// The post.
    pub post: Post,
    /// The comments, every one after its parent.
    pub comments: Vec<Entry>,
    /// Where it goes on.
    pub next: Option<Cursor>,
}

/// Which page of a thread is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The site.
    pub site: String,
    /// The post.
    pub post: PostKey,
    /// Who reads.
    pub viewer: Viewer,
    /// The order of siblings.
    pub order: Order,
    /// How many roots at most.
    pub roots: usize,
    /// How many replies follow each root at most.
    pub replies_per_root: usize,
    /// Where it goes on.
    pub cursor: Option<Cursor>,
}

/// How a post is asked for.
#[derive(Clone, Debug)]
pub enum PostKey {
    /// By its id.
    Id(PostId),
    /// By the id that it has elsewhere.
    External(String),
}

/// Why there is no page.
#[derive(Debug)]
pub enum Absent {
    /// The site has no such post.
    Post,
    /// The comment under which the page goes on cannot be seen.
    Comment,
}

impl Reader {
    /// A reader on these connections: to the view, and to its dead letters.
    pub fn new(pool: SqlitePool, letters: SqlitePool) -> Self {
        Self { pool: Arc::new(RwLock::new(pool)), letters }
    }

    /// The connections to the view that is served now.
    pub(crate) fn pool(&self) -> SqlitePool {
        self.pool.read().unwrap_or_else(|lock| lock.into_inner()).clone()
    }

    /// Reads another view from now on; returns the connections to the old one.
    pub(crate) fn replace(&self, pool: SqlitePool) -> SqlitePool {
        let mut now = self.pool.write().unwrap_or_else(|lock| lock.into_inner());
        std::mem::replace(&mut now, pool)
    }

    /// A connection to the view that is served.
    async fn acquire(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        loop {
            match self.pool().acquire().await {
                // It was replaced in between.
                Err(sqlx::Error::PoolClosed) if !self.pool().is_closed() => {}
                acquired => return acquired,
            }
        }
    }

    /// How many events are parked.
    ///
    /// # Errors
    /// What the database says.
    pub async fn parked(&self) -> Result<u64, sqlx::Error> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM dead_letter").fetch_one(&self.letters).await?;
        Ok(count.unsigned_abs())
    }

    /// A page of a thread.
    ///
    /// # Errors
    /// What the database says.
    pub async fn thread(&self, wanted: &Wanted) -> Result<Result<Page, Absent>, sqlx::Error> {
        let mut connection = self.acquire().await?;
        let mut transaction = connection.begin().await?;
        let page = page(&mut transaction, wanted).await;
        transaction.rollback().await?;
        page
    }

    /// A site's posts that are not deleted, after the cursor.
    ///
    /// # Errors
    /// What the database says.
    pub async fn feed(
        &self,
        site: &str,
        order: FeedOrder,
        after: Option<FeedCursor>,
        limit: usize,
    ) -> Result<Vec<Post>, sqlx::Error> {
        feed::feed(&mut *self.acquire().await?, site, order, after, limit).await
    }

    /// What the view holds, at one position.
    ///
    /// # Errors
    /// What the database says.
    pub async fn digest(&self) -> Result<Digest, sqlx::Error> {
        let mut connection = self.acquire().await?;
        let mut transaction = connection.begin().await?;
        let digest = digest::digest(&mut transaction).await;
        transaction.rollback().await?;
        digest
    }
}

async fn page(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
) -> Result<Result<Page, Absent>, sqlx::Error> {
    let post = match &wanted.post {
        PostKey::Id(id) => feed::by_id(connection, &wanted.site, *id).await?,
        PostKey::External(key) => feed::by_key(connection, &wanted.site, key).await?,
    };
    let Some(post) = post else { return Ok(Err(Absent::Post)) };
    if post.state == PostState::Deleted {
        return Ok(Ok(Page { post, comments: Vec::new(), next: None }));
    }
    let moderator = wanted.viewer == Viewer::Moderator;
    if let Some(Cursor { parent: Some(parent), .. }) = wanted.cursor
        && !thread::is_reachable(connection, post.id, parent, moderator).await?
    {
        return Ok(Err(Absent::Comment));
    }
    let (comments, next) = comments(connection, &post, wanted).await?;
    Ok(Ok(Page { post, comments, next }))
}

async fn comments(
    connection: &mut SqliteConnection,
    post: &Post,
    wanted: &Wanted,
) -> Result<(Vec<Entry>, Option<Cursor>), sqlx::Error> {
    let Wanted { viewer, order, .. } = wanted;
    let moderator = *viewer == Viewer::Moderator;
    let under = thread::parent_key(post.id, wanted.cursor.as_ref());
    let after = wanted.cursor.and_then(|cursor| cursor.after);
    let limit = wanted.roots + 1;
    let mut roots = thread::siblings(connection, under, moderator, *order, after, limit).await?;
    let fitting = fitting(&roots).min(wanted.roots);
    let more = roots.len() > fitting;
    roots.truncate(fitting);
    let last = roots.last().map(super::Seen::key);

    let mut tree = Tree::new(*order, roots, wanted.replies_per_root);
    while let Some((parents, limit)) = tree.wanted() {
        tree.grow(thread::replies(connection, &parents, moderator, *order, limit).await?);
    }
    if let Viewer::Author(id) = viewer {
        let own = thread::own(connection, post.id, id).await?;
        let begins_here = wanted.cursor.is_none_or(|cursor| cursor.parent.is_none());
        tree.add_own(own, |key| {
            let after_start = after.is_none_or(|after| order.is_before(after, key));
            let before_end = !more || last.is_none_or(|last| order.is_before(key, last));
            begins_here && after_start && before_end
        });
    }
    let parent = wanted.cursor.and_then(|cursor| cursor.parent);
    let next = more.then_some(Cursor { parent, after: last });
    Ok((tree.finish(), next))
}
