use std::io;

use chassis::{Explain, error::Fault};
use eventstore::{
    consumer::{Ended, ReadError},
    database::OpenError,
};
use tonic::Code;

use crate::store;

/// Why a view was not made anew, or not switched to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error(transparent)]
    Chassis(#[from] chassis::Error),
    #[error("the view is being rebuilt or copied already")]
    Running,
    #[error("the caller has disconnected: call again to resume the rebuild")]
    Abandoned,
    #[error("there is no previous view to roll back to")]
    NoOldView,
    #[error(
        "the new view differs from the one that is served, in {}: it is kept, and served once you \
         accept the differences",
        .0.join(", ")
    )]
    Differs(Vec<String>),
    #[error("the new view cannot catch up with the writes: try again later")]
    TooBusy,
    #[error("cannot read the streams")]
    Stream(#[from] ReadError),
    #[error("cannot fold the streams")]
    Folding(#[from] Ended),
    #[error("cannot use the view's file")]
    File(#[source] io::Error),
    #[error("cannot open the view's file")]
    Open(#[from] OpenError),
    #[error("cannot write the view's file")]
    Store(#[from] store::Error),
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Explain for RebuildError {
    fn fault(&self) -> Fault {
        match self {
            Self::Chassis(error) => error.fault(),
            Self::Running => Fault::new(Code::FailedPrecondition, "REBUILD_RUNNING"),
            Self::Abandoned => Fault::new(Code::Cancelled, "REBUILD_ABANDONED"),
            Self::NoOldView => Fault::new(Code::FailedPrecondition, "NO_OLD_VIEW"),
            Self::Differs(_) => Fault::new(Code::FailedPrecondition, "VIEW_DIFFERS"),
            Self::TooBusy => Fault::new(Code::Aborted, "REBUILD_TOO_SLOW"),
            Self::Stream(_) | Self::Folding(_) => {
                Fault::new(Code::Unavailable, "STREAM_UNAVAILABLE")
            }
            Self::File(_) | Self::Open(_) | Self::Store(_) => {
                Fault::new(Code::Internal, "REBUILD_FAILED")
            }
        }
    }
}
