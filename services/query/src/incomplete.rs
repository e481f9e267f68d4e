//! What dead letters leave out: reads that touch it say so.

use std::{
    collections::HashSet,
    sync::{Arc, RwLock},
};

use agora_proto::event::v1 as proto;
use bus_schema::PostId;
use bytes::Bytes;
use prost::Message as _;

/// The posts and sites that have dead letters; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Incomplete(Arc<RwLock<Gaps>>);

#[derive(Default)]
struct Gaps {
    posts: HashSet<PostId>,
    sites: HashSet<String>,
    /// An event does not even tell what it is about.
    anything: bool,
}

impl Incomplete {
    /// Says that these events are parked, and no others.
    pub(crate) fn replace(&self, events: impl Iterator<Item = Bytes>) {
        let mut gaps = Gaps::default();
        events.for_each(|event| gaps.add(event));
        *self.0.write().unwrap_or_else(|lock| lock.into_inner()) = gaps;
    }

    /// Says that one more event is parked.
    pub(crate) fn add(&self, event: Bytes) {
        self.0.write().unwrap_or_else(|lock| lock.into_inner()).add(event);
    }

    /// Whether something of a post may be missing.
    pub(crate) fn has_post(&self, post: PostId) -> bool {
        let gaps = self.0.read().unwrap_or_else(|lock| lock.into_inner());
        gaps.anything || gaps.posts.contains(&post)
    }

    /// Whether something of a site may be missing.
    pub(crate) fn has_site(&self, site: &str) -> bool {
        let gaps = self.0.read().unwrap_or_else(|lock| lock.into_inner());
        gaps.anything || gaps.sites.contains(site)
    }
}

impl Gaps {
    fn add(&mut self, event: Bytes) {
        // An event of a newer program is read as far as this one can.
        let Ok(event) = proto::Event::decode(event) else {
            self.anything = true;
            return;
        };
        match PostId::from_slice(&event.post_id) {
            Ok(post) => {
                self.posts.insert(post);
            }
            Err(_) if !event.post_id.is_empty() => self.anything = true,
            // A site's policy, which readers do not see.
            Err(_) => {}
        }
        self.sites.insert(event.site);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_incomplete_where_an_event_is_missing() {
        let (one, other) = (PostId::new(), PostId::new());
        let event =
            proto::Event { post_id: one.to_bytes(), site: "blog".into(), ..Default::default() };
        let incomplete = Incomplete::default();
        assert!(!incomplete.has_post(one));

        incomplete.add(event.encode_to_vec().into());
        assert!(incomplete.has_post(one) && !incomplete.has_post(other));
        assert!(incomplete.has_site("blog") && !incomplete.has_site("news"));

        incomplete.add(Bytes::from_static(b"\xff"));
        assert!(incomplete.has_post(other) && incomplete.has_site("news"));
        incomplete.replace(std::iter::empty());
        assert!(!incomplete.has_post(one) && !incomplete.has_site("blog"));
    }
}
