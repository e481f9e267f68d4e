//! What operators and consumers ask of a source: its journal and its stream.

mod journal;
mod stream;

pub(crate) use journal::{Journal, Journals, Refused, source};
pub(crate) use stream::{Keeps, Streams};
