//! Where the view is kept. All SQL stands in [`sqlite`]: [`View`] writes it, [`Reader`]
//! reads it, on connections of its own.

mod sqlite;

pub use sqlite::{
    Absent, Digest, Error, Page, PostKey, Reader, Seen, TableDigest, View, Viewer, Wanted,
};
pub(crate) use sqlite::{
    CopyError, Description, Snapshot, check, check_schema, copy, describe, unpack,
};
