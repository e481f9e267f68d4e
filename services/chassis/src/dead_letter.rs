//! Dead letters: events that a consumer could not apply, kept with their error for an
//! operator. Nothing is dropped silently: what is delivered is applied or parked.

use bus_schema::{Sequence, Source, Time};
use bytes::Bytes;
use uuid::Uuid;

/// A parked event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose event it is.
    pub source: Source,
    /// Its number.
    pub sequence: Sequence,
    /// What it happened to; later events of the same wait behind it.
    pub aggregate: Option<Uuid>,
    /// The event, encoded.
    pub event: Bytes,
    /// Why it could not be applied; empty if it only waits behind another one.
    pub error: String,
    /// When it was parked.
    pub parked_at: Time,
}
