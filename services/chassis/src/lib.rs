//! What every service of Agora shares, so that a service's own crate holds nothing
//! but its domain.
//!
//! - The edge: [`config`], [`telemetry`], [`host`] (the gRPC and HTTP
//!   servers of one process), [`auth`], [`error`], [`page`], [`position`],
//!   [`fields`].
//! - The way of a write: [`mutation`], [`database`], [`rows`], [`journal`], [`committer`], [`relay`].
//! - The way of an event: [`consumer`], [`dead_letter`].
//! - Several replicas: [`leader`], [`dial`].
//! - With the feature `testing`, what the tests of services share: `testing`.
//!
//! It knows nothing of posts or comments.

mod admin;
pub mod auth;
pub mod bulk;
pub mod bus;
pub mod call;
pub mod committer;
pub mod config;
pub mod consumer;
pub mod content;
pub mod database;
pub mod dead_letter;
pub mod delivery;
pub mod dial;
pub mod domain;
pub mod error;
pub mod fields;
mod follow;
pub mod gate;
pub mod host;
pub mod journal;
pub mod keys;
pub mod leader;
pub mod mutation;
pub mod page;
pub mod planted;
pub mod position;
pub mod program;
pub mod registry;
pub mod relay;
pub mod replicas;
pub mod rows;
pub mod start;
mod suspicion;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod version;

pub use bus::Bus;
pub use call::Call;
pub use error::{Error, Explain, status};
pub use host::{Host, Running, StartError};
pub use keys::Keys;
pub use position::{Position, Watermarks};
