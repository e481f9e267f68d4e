use std::{fmt, str::FromStr};

use bytes::Bytes;
use uuid::Uuid;

/// Bytes or text that are not the UUID they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new UUIDv7.
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes that events and databases hold.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The 16 bytes, as a field of an event.
            pub fn to_bytes(self) -> Bytes {
                Bytes::copy_from_slice(self.as_bytes())
            }

            /// From the 16 bytes that events and databases hold.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| InvalidId)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

ids! {
    /// A post.
    PostId
    /// A comment.
    CommentId
    /// An event of any source.
    EventId
    /// A revision of a comment: the id of the event that made it.
    RevisionId
    /// A decision on a revision: the id of the event that made it.
    DecisionId
    /// What a caller chose to tell a retry from another request.
    RequestId
}

impl From<EventId> for RevisionId {
    fn from(id: EventId) -> Self {
        Self(id.0)
    }
}

impl From<EventId> for DecisionId {
    fn from(id: EventId) -> Self {
        Self(id.0)
    }
}
