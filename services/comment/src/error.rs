use std::time::Duration;

use chassis::{Explain, error::Fault};
use tonic::Code;

use crate::domain::MAX_DEPTH;

/// Why a request about comments is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every service can answer with.
    #[error(transparent)]
    Chassis(#[from] chassis::Error),
    /// The site has no such post.
    #[error("the site has no such post")]
    PostNotFound,
    /// This service has not heard of the post; the post service knows more.
    #[error("the post has not arrived here yet")]
    PostNotHeardOf,
    /// The post service cannot be asked for a post that is not known here yet.
    #[error("the post is not known here yet, and the post service does not answer")]
    PostServiceUnavailable(#[source] Box<tonic::Status>),
    /// The post takes no comments.
    #[error("the post is closed for comments")]
    PostClosed,
    /// The post is deleted.
    #[error("the post is deleted")]
    PostDeleted,
    /// The post has no such comment.
    #[error("the post has no such comment to reply to")]
    ParentNotFound,
    /// The comment to reply to was rejected.
    #[error("the comment to reply to was rejected")]
    ParentRejected,
    /// The comment to reply to is deleted.
    #[error("the comment to reply to is deleted")]
    ParentDeleted,
    /// The comment to reply to is too deep in its thread.
    #[error("replies go at most {MAX_DEPTH} deep")]
    TooDeep,
    /// The site has no such comment that the caller may see.
    #[error("the site has no such comment")]
    CommentNotFound,
    /// The comment is deleted.
    #[error("the comment is deleted")]
    CommentDeleted,
    /// The change was made on a revision that is not the newest.
    #[error("the comment is at revision {current}")]
    StaleRevision {
        /// The newest.
        current: u32,
    },
    /// Somebody else wrote it.
    #[error("only its author may do this, or an administrator of the site")]
    NotTheAuthor,
}

impl Explain for Error {
    fn fault(&self) -> Fault {
        let failed = |reason| Fault::new(Code::FailedPrecondition, reason);
        match self {
            Self::Chassis(error) => error.fault(),
            Self::PostNotFound | Self::PostNotHeardOf => {
                Fault::new(Code::NotFound, "POST_NOT_FOUND")
            }
            Self::PostServiceUnavailable(_) => {
                Fault::new(Code::Unavailable, "POST_SERVICE_UNAVAILABLE")
                    .retry_after(Duration::from_secs(1))
            }
            Self::PostClosed => failed("POST_CLOSED"),
            Self::PostDeleted => failed("POST_DELETED"),
            Self::ParentNotFound => Fault::new(Code::NotFound, "PARENT_NOT_FOUND"),
            Self::ParentRejected => failed("PARENT_REJECTED"),
            Self::ParentDeleted => failed("PARENT_DELETED"),
            Self::TooDeep => failed("TOO_DEEP").with("max_depth", MAX_DEPTH),
            Self::CommentNotFound => Fault::new(Code::NotFound, "COMMENT_NOT_FOUND"),
            Self::CommentDeleted => failed("COMMENT_DELETED"),
            Self::StaleRevision { current } => {
                Fault::new(Code::Aborted, "STALE_REVISION").with("current_revision", current)
            }
            Self::NotTheAuthor => Fault::new(Code::PermissionDenied, "NOT_THE_AUTHOR"),
        }
    }
}
