//! A page of a thread: which comments it has, and in which order. No I/O.

use std::collections::{HashMap, HashSet};

use bus_schema::{CommentId, Time};
use serde::{Deserialize, Serialize};

use crate::store::Seen;

/// How many comments a page holds at most.
pub const MAX_COMMENTS: usize = 2_000;
/// How many bytes of texts and names a page holds at most, the first comment aside: an
/// answer holds at most [`chassis::host::MAX_RESPONSE_BYTES`].
pub const MAX_BYTES: usize = 3 * 1024 * 1024;
/// How many replies follow each root if a request does not say.
pub const DEFAULT_REPLIES: usize = 10;
/// How many replies follow each root at most.
pub const MAX_REPLIES: usize = 500;

/// The order of siblings at every level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

impl Order {
    /// Sorts siblings.
    pub fn sort(self, siblings: &mut [Seen]) {
        siblings.sort_unstable_by_key(Seen::key);
        if self == Self::NewestFirst {
            siblings.reverse();
        }
    }

    /// Whether one key comes before another.
    pub fn is_before(self, one: (Time, CommentId), other: (Time, CommentId)) -> bool {
        match self {
            Self::NewestFirst => one > other,
            Self::OldestFirst => one < other,
        }
    }
}

/// Where a page goes on: under which comment, if not under the post, and after which
/// sibling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The comment under which it goes on.
    pub parent: Option<CommentId>,
    /// The last sibling that was shown.
    pub after: Option<(Time, CommentId)>,
}

/// A cursor as page tokens hold it.
#[derive(Serialize, Deserialize)]
pub struct Sealed {
    parent: Option<uuid::Uuid>,
    after: Option<(i64, uuid::Uuid)>,
}

impl From<Cursor> for Sealed {
    fn from(Cursor { parent, after }: Cursor) -> Self {
        Self {
            parent: parent.map(CommentId::uuid),
            after: after.map(|(time, id)| (time.micros(), id.uuid())),
        }
    }
}

impl From<Sealed> for Cursor {
    fn from(Sealed { parent, after }: Sealed) -> Self {
        Self {
            parent: parent.map(Into::into),
            after: after.map(|(time, id)| (Time::from_micros(time), id.into())),
        }
    }
}

/// How many of these comments, from the first on, fit into a page: at least one.
pub fn fitting(roots: &[Seen]) -> usize {
    let mut bytes = 0;
    let fits = roots.iter().take_while(|seen| {
        bytes += seen.size();
        bytes <= MAX_BYTES
    });
    fits.count().max(1)
}

/// A page of a tree that is being put together, level by level.
pub struct Tree {
    order: Order,
    roots: Vec<CommentId>,
    nodes: HashMap<CommentId, Node>,
    /// How many more comments the page may hold.
    budget: usize,
    /// How many more bytes of texts and names it may hold.
    bytes: usize,
    /// The comments whose replies are to be looked up next, with their root's number.
    frontier: Vec<(usize, CommentId)>,
    /// How many more replies each root may have.
    remaining: Vec<usize>,
}

struct Node {
    seen: Seen,
    replies: Vec<CommentId>,
    /// Whether replies were left out.
    more: bool,
    /// The last reply before those that were left out; an author's own, which stand
    /// where nobody else sees any, do not count.
    after: Option<(Time, CommentId)>,
}

/// A comment of a page.
#[derive(Debug)]
pub struct Entry {
    /// The comment.
    pub seen: Seen,
    /// Where its replies go on, if some were left out.
    pub next: Option<Cursor>,
}

impl Tree {
    /// A tree of these roots, in order, each with so many replies at most.
    pub fn new(order: Order, roots: Vec<Seen>, replies_per_root: usize) -> Self {
        let mut tree = Self {
            order,
            roots: roots.iter().map(|seen| seen.comment.id).collect(),
            nodes: HashMap::new(),
            budget: MAX_COMMENTS.saturating_sub(roots.len()),
            bytes: MAX_BYTES,
            frontier: Vec::new(),
            remaining: vec![replies_per_root; roots.len()],
        };
        for (number, seen) in roots.into_iter().enumerate() {
            tree.insert(number, seen);
        }
        tree
    }

    fn insert(&mut self, root: usize, seen: Seen) {
        let id = seen.comment.id;
        self.bytes = self.bytes.saturating_sub(seen.size());
        if seen.has_replies {
            self.frontier.push((root, id));
        }
        self.nodes
            .insert(id, Node { more: seen.has_replies, seen, replies: Vec::new(), after: None });
    }

    /// The comments whose replies are needed next, and how many of each at most; one
    /// more than can be shown, so that it is known whether there are more. Nothing if
    /// the tree is complete.
    pub fn wanted(&self) -> Option<(Vec<CommentId>, usize)> {
        let open = self.frontier.iter().filter(|(root, _)| self.remaining[*root] > 0);
        let parents: Vec<CommentId> = open.clone().map(|(_, id)| *id).collect();
        let most = open.map(|(root, _)| self.remaining[*root]).max()?.min(self.budget);
        (most > 0 && self.bytes > 0).then_some((parents, most + 1))
    }

    /// Takes in the replies that were wanted.
    pub fn grow(&mut self, mut replies: HashMap<CommentId, Vec<Seen>>) {
        for (root, parent) in std::mem::take(&mut self.frontier) {
            if self.remaining[root] == 0 {
                continue;
            }
            let found = replies.remove(&parent).unwrap_or_default();
            let room = self.remaining[root].min(self.budget);
            let mut more = found.len() > room;
            for seen in found.into_iter().take(room) {
                if seen.size() > self.bytes {
                    (self.bytes, more) = (0, true);
                    break;
                }
                self.remaining[root] -= 1;
                self.budget -= 1;
                if let Some(node) = self.nodes.get_mut(&parent) {
                    node.replies.push(seen.comment.id);
                    node.after = Some(seen.key());
                }
                self.insert(root, seen);
            }
            if let Some(node) = self.nodes.get_mut(&parent) {
                node.more = more;
            }
        }
    }

    /// Puts in what only its author sees: the newest revision of comments that are here,
    /// and comments that nobody else sees, below what is here.
    pub fn add_own(&mut self, own: Vec<Seen>, may_be_root: impl Fn((Time, CommentId)) -> bool) {
        let mut waiting = Vec::new();
        for seen in own {
            match self.nodes.get_mut(&seen.comment.id) {
                Some(node) => node.seen = Seen { has_replies: node.seen.has_replies, ..seen },
                // What everybody sees of it stands on another page.
                None if seen.open => {}
                None => waiting.push(seen),
            }
        }
        // Parents before their replies.
        waiting.sort_unstable_by_key(|seen| seen.comment.depth);
        let mut placed = HashSet::new();
        for seen in waiting {
            let (id, key) = (seen.comment.id, seen.key());
            let siblings = match seen.comment.parent_id {
                None if may_be_root(key) => &mut self.roots,
                None => continue,
                Some(parent) => match self.nodes.get_mut(&parent) {
                    Some(node) => &mut node.replies,
                    None => continue,
                },
            };
            siblings.push(id);
            placed.insert(id);
            self.nodes.insert(id, Node { seen, replies: Vec::new(), more: false, after: None });
        }
        if !placed.is_empty() {
            self.sort();
        }
    }

    fn sort(&mut self) {
        let keys: HashMap<CommentId, (Time, CommentId)> =
            self.nodes.iter().map(|(id, node)| (*id, node.seen.key())).collect();
        let order = self.order;
        let sort = |siblings: &mut Vec<CommentId>| {
            siblings.sort_unstable_by_key(|id| keys.get(id).copied());
            if order == Order::NewestFirst {
                siblings.reverse();
            }
        };
        sort(&mut self.roots);
        for node in self.nodes.values_mut() {
            sort(&mut node.replies);
        }
    }

    /// The comments in depth-first order: every one after its parent.
    pub fn finish(mut self) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.nodes.len());
        let mut pending: Vec<CommentId> = self.roots.iter().rev().copied().collect();
        while let Some(id) = pending.pop() {
            let Some(node) = self.nodes.remove(&id) else { continue };
            let next = node.more.then_some(Cursor { parent: Some(id), after: node.after });
            pending.extend(node.replies.iter().rev());
            entries.push(Entry { seen: node.seen, next });
        }
        entries
    }
}
