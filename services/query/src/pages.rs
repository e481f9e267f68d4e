//! First pages of threads are read far more often than threads change: pages that
//! everybody sees are kept encoded, until the view says that their post has changed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bus_schema::PostId;
use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};

/// How many bytes of pages are kept at most.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// How many pages are kept at about.
const MAX_PAGES: usize = 4_096;
/// Of how many posts it is remembered when they changed; beyond, all pages are old.
const MAX_POSTS: usize = 100_000;

/// The pages that are kept.
pub(crate) struct Pages {
    pages: Cache<Bytes, Page, ByBytes>,
    /// How many times the view has changed.
    changes: AtomicU64,
    changed: RwLock<Changed>,
}

/// When posts have changed last, by the number of the change.
#[derive(Default)]
struct Changed {
    posts: HashMap<PostId, u64>,
    /// What was read before this change is old, whatever its post.
    all: u64,
}

/// A page: an encoded answer without its position.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) post_id: PostId,
    pub(crate) bytes: Bytes,
    /// The number of the last change that it certainly includes.
    pub(crate) read_at: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Bytes, Page> for ByBytes {
    fn weight(&self, key: &Bytes, page: &Page) -> u64 {
        (key.len() + page.bytes.len()) as u64 + 128
    }
}

impl Pages {
    pub(crate) fn new() -> Self {
        Self {
            pages: Cache::with_weighter(MAX_PAGES, MAX_BYTES, ByBytes),
            changes: AtomicU64::new(0),
            changed: RwLock::default(),
        }
    }

    /// The number of the last change. Take it before a page is read: what changes
    /// meanwhile makes the page old.
    pub(crate) fn now(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A page that has not changed since it was read.
    pub(crate) fn get(&self, request: &Bytes) -> Option<Page> {
        let page = self.pages.get(request)?;
        let changed = self.changed.read().unwrap_or_else(|lock| lock.into_inner());
        let post_changed = changed.posts.get(&page.post_id).copied().unwrap_or_default();
        (page.read_at >= post_changed.max(changed.all)).then_some(page)
    }

    /// Keeps a page.
    pub(crate) fn keep(&self, request: Bytes, page: Page) {
        self.pages.insert(request, page);
    }

    /// Says that everything may have changed.
    pub(crate) fn forget_all(&self) {
        let mut changed = self.changed.write().unwrap_or_else(|lock| lock.into_inner());
        let now = self.changes.load(Ordering::Acquire) + 1;
        *changed = Changed { posts: HashMap::new(), all: now };
        self.changes.store(now, Ordering::Release);
    }

    /// Says that these posts have changed.
    pub(crate) fn forget(&self, posts: &BTreeSet<PostId>) {
        let mut changed = self.changed.write().unwrap_or_else(|lock| lock.into_inner());
        let now = self.changes.load(Ordering::Acquire) + 1;
        if changed.posts.len() + posts.len() > MAX_POSTS {
            *changed = Changed { posts: HashMap::new(), all: now };
        }
        changed.posts.extend(posts.iter().map(|post| (*post, now)));
        self.changes.store(now, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_kept_until_its_post_changes() {
        let pages = Pages::new();
        let (one, other) = (PostId::new(), PostId::new());
        let key = Bytes::from_static(b"request");
        let page = |read_at| Page { post_id: one, bytes: Bytes::new(), read_at };

        pages.keep(key.clone(), page(pages.now()));
        pages.forget(&BTreeSet::from([other]));
        assert!(pages.get(&key).is_some());
        pages.forget(&BTreeSet::from([one]));
        assert!(pages.get(&key).is_none());

        // Read while the post changed: it may lack the change.
        let before = pages.now();
        pages.forget(&BTreeSet::from([one]));
        pages.keep(key.clone(), page(before));
        assert!(pages.get(&key).is_none());
        pages.keep(key.clone(), page(pages.now()));
        assert!(pages.get(&key).is_some());
    }
}
