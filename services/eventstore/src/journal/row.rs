use bus_schema::{Checkpoint, Event, Hash, KindName, RequestMark, Sequence, Site};
use bytes::Bytes;

use crate::database::SqlResult;

/// One row of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The event's number.
    pub sequence: Sequence,
    /// The chain up to and with this event.
    pub hash: Hash,
    /// The event, encoded.
    pub event: Bytes,
}

impl Row {
    /// The head of a journal that ends with this row.
    pub const fn checkpoint(&self) -> Checkpoint {
        Checkpoint { sequence: self.sequence, hash: self.hash }
    }
}

/// How a request is found again: its id, then a hash of site, actor and the type of the event
/// that answers it. The same id from another actor is another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey(pub(super) [u8; 32]);

impl RequestKey {
    /// The key of a request.
    pub fn new(mark: &RequestMark, site: &Site, actor: &str, makes: KindName) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [site.as_str(), actor, makes.as_str()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut key = [0; 32];
        key[..16].copy_from_slice(mark.id.as_bytes());
        hasher.finalize_xof().fill(&mut key[16..]);
        Self(key)
    }

    /// The key of the request that made an event, if one did.
    pub fn of(event: &Event) -> Option<Self> {
        let mark = event.request.as_ref()?;
        Some(Self::new(mark, &event.site, &event.actor, KindName::of(&event.kind)))
    }

    /// As the database holds it.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What the journal remembers of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// How it is found again.
    pub key: RequestKey,
    /// The event that answers it.
    pub sequence: Sequence,
    /// Keyed BLAKE3 of the request.
    pub hash: [u8; 32],
}

/// A hash or key as a row holds it.
pub(super) fn bytes32(bytes: &[u8]) -> SqlResult<[u8; 32]> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("32 bytes were expected".into()))
}

#[cfg(test)]
mod tests {
    use bus_schema::{EventId, Kind, RequestId, Source, Time};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_request_is_found_by_the_key_that_databases_hold() {
        let mark = RequestMark { id: RequestId::from(Uuid::from_bytes([7; 16])), hash: [1; 32] };
        let site: Site = "blog".parse().unwrap();
        let key = RequestKey::new(&mark, &site, "ada", KindName::CommentCreated);
        // The id, then 16 bytes of BLAKE3 over each part behind its length, in 8 bytes.
        let hash = 0x2d61_d60b_94b2_a7ac_818c_2bc7_bd85_91d1_u128.to_be_bytes();
        assert_eq!(key.as_bytes(), [[7; 16], hash].concat().as_slice());

        let event = Event {
            id: EventId::new(),
            source: Source::Comment,
            sequence: Sequence(1),
            time: Time::now(),
            actor: "ada".into(),
            request: Some(mark),
            site,
            post_id: None,
            aggregate: None,
            traceparent: String::new(),
            kind: Kind::CommentCreated(Default::default()),
        };
        assert_eq!(RequestKey::of(&event), Some(key));
    }
}
