//! The fold and the pages on a real database.

#![allow(clippy::unwrap_used, missing_docs)]

mod fold;
