use chassis::{Explain, error::Fault};
use tonic::Code;

use crate::store::Absent;

/// Why a read is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every service can answer with.
    #[error(transparent)]
    Chassis(#[from] chassis::Error),
    /// The site has no such post.
    #[error("the site has no such post")]
    PostNotFound,
    /// The page token goes on under a comment that cannot be seen any more.
    #[error("the comment that the page token continues from is not visible")]
    CommentNotFound,
}

impl Explain for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::Chassis(error) => error.fault(),
            Self::PostNotFound => Fault::new(Code::NotFound, "POST_NOT_FOUND"),
            Self::CommentNotFound => Fault::new(Code::NotFound, "COMMENT_NOT_FOUND"),
        }
    }
}

impl From<Absent> for Error {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Post => Self::PostNotFound,
            Absent::Comment => Self::CommentNotFound,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        chassis::Error::from(error).into()
    }
}
