use bus_schema::{Checkpoint, Event, Hash, RequestMark, Sequence, Site};
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

/// How a request is found again: its id, then a hash of site, actor and method. The
/// same id from another actor is another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey(pub(super) [u8; 32]);

impl RequestKey {
    /// The key of a request.
    pub fn new(mark: &RequestMark, site: &Site, actor: &str, method: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [site.as_str(), actor, method] {
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
        let method = bus_schema::kind_name(&event.kind);
        Some(Self::new(mark, &event.site, &event.actor, method))
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
