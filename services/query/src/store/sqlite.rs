mod beside;
mod digest;
mod feed;
mod indexes;
mod load;
mod reader;
mod retry;
mod rows;
mod snapshot;
mod thread;
mod view;
mod write;

pub use digest::{Digest, TableDigest};
pub use reader::{Absent, Page, PostKey, Reader, Wanted};
pub(crate) use snapshot::Snapshot;
pub use thread::{Seen, Viewer};
pub use view::{Error, View};
