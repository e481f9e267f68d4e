use bus_schema::PostId;
use chassis::{Explain, error::Fault};
use tonic::Code;

/// Why a request about posts is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every service can answer with.
    #[error(transparent)]
    Chassis(#[from] chassis::Error),
    /// The site has no such post.
    #[error("the site has no such post")]
    PostNotFound,
    /// Another post of the site has the key.
    #[error("post {post_id} of the site has this external_key")]
    ExternalKeyTaken {
        /// The post that has it.
        post_id: PostId,
    },
    /// The post is deleted.
    #[error("the post is deleted")]
    PostDeleted,
    /// The post is closed already.
    #[error("the post is closed already")]
    PostAlreadyClosed,
    /// The post is open.
    #[error("the post is not closed")]
    PostNotClosed,
    /// The change was made on a revision that is not the newest.
    #[error("the post is at revision {current}")]
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
        match self {
            Self::Chassis(error) => error.fault(),
            Self::PostNotFound => Fault::new(Code::NotFound, "POST_NOT_FOUND"),
            Self::ExternalKeyTaken { post_id } => {
                Fault::new(Code::AlreadyExists, "EXTERNAL_KEY_TAKEN").with("post_id", post_id)
            }
            Self::PostDeleted => Fault::new(Code::FailedPrecondition, "POST_DELETED"),
            Self::PostAlreadyClosed => Fault::new(Code::FailedPrecondition, "POST_ALREADY_CLOSED"),
            Self::PostNotClosed => Fault::new(Code::FailedPrecondition, "POST_NOT_CLOSED"),
            Self::StaleRevision { current } => {
                Fault::new(Code::Aborted, "STALE_REVISION").with("current_revision", current)
            }
            Self::NotTheAuthor => Fault::new(Code::PermissionDenied, "NOT_THE_AUTHOR"),
        }
    }
}
