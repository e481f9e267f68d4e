//! The journal: the append-only, hash-chained table of a source's events, in the
//! same database and the same transactions as the source's state.

mod gathered;
mod postgres;
mod row;
mod sqlite;

pub use gathered::Gathered;
pub use row::{RequestKey, RequestRow, Row};
