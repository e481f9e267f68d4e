//! How the services that own events keep them: event sourcing with a transactional outbox.
//!
//! - What a service gives: its rules and its SQL ([`domain`]); [`start`] makes the rest.
//! - The way of a write: [`database`], [`journal`], [`committer`], and the relay (the outbox's
//!   publisher), which copies the journal into the stream.
//! - The way of an event: [`consumer`], [`delivery`], [`dead_letter`].
//! - What callers see of it: [`position`] (read your writes), and the admin services that a
//!   [`Registry`] serves.
//! - Several replicas: [`leader`] (leader election), [`replicas`].
//!
//! It knows nothing of posts or comments.

mod admin;
pub mod committer;
pub mod consumer;
pub mod database;
pub mod dead_letter;
pub mod delivery;
pub mod domain;
pub mod gate;
pub mod journal;
pub mod leader;
pub mod mutation;
mod notify;
pub mod position;
mod registry;
mod relay;
pub mod replicas;
mod start;
mod suspicion;
#[cfg(feature = "testing")]
pub mod testing;

pub use domain::{Domain, Store};
pub use position::{Position, Watermarks};
pub use registry::Registry;
pub use start::{Owned, Settings, start};
