use std::fmt;

pub use agora_proto::event::v1::event::Kind;

/// The name of an event type, as the proto's `kind` spells it.
///
/// A request is remembered by the name of the event that answers it, and databases hold the
/// hash of that: the texts never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KindName {
    /// `post_created`
    PostCreated,
    /// `post_updated`
    PostUpdated,
    /// `post_deleted`
    PostDeleted,
    /// `post_closed`
    PostClosed,
    /// `post_reopened`
    PostReopened,
    /// `comment_created`
    CommentCreated,
    /// `comment_updated`
    CommentUpdated,
    /// `comment_deleted`
    CommentDeleted,
    /// `policy_set`
    PolicySet,
    /// `revision_decided`
    RevisionDecided,
}

impl KindName {
    /// The name of an event's type.
    pub const fn of(kind: &Kind) -> Self {
        match kind {
            Kind::PostCreated(_) => Self::PostCreated,
            Kind::PostUpdated(_) => Self::PostUpdated,
            Kind::PostDeleted(_) => Self::PostDeleted,
            Kind::PostClosed(_) => Self::PostClosed,
            Kind::PostReopened(_) => Self::PostReopened,
            Kind::CommentCreated(_) => Self::CommentCreated,
            Kind::CommentUpdated(_) => Self::CommentUpdated,
            Kind::CommentDeleted(_) => Self::CommentDeleted,
            Kind::PolicySet(_) => Self::PolicySet,
            Kind::RevisionDecided(_) => Self::RevisionDecided,
        }
    }

    /// As the proto spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PostCreated => "post_created",
            Self::PostUpdated => "post_updated",
            Self::PostDeleted => "post_deleted",
            Self::PostClosed => "post_closed",
            Self::PostReopened => "post_reopened",
            Self::CommentCreated => "comment_created",
            Self::CommentUpdated => "comment_updated",
            Self::CommentDeleted => "comment_deleted",
            Self::PolicySet => "policy_set",
            Self::RevisionDecided => "revision_decided",
        }
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
