mod digest;
mod feed;
mod load;
mod reader;
mod rows;
mod thread;
mod view;
mod write;

pub use digest::{Digest, TableDigest};
pub use reader::{Absent, Page, PostKey, Reader, Wanted};
pub use thread::{Seen, Viewer};
pub use view::{Error, View};
