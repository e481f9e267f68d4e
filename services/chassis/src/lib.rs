//! A process and its edge, as every service of Agora has them.
//!
//! - The process: [`config`], [`program`], [`telemetry`], [`host`] (its gRPC and HTTP servers).
//! - The edge: [`auth`], [`call`], [`fields`], [`page`], [`error`].
//! - Calls to other services: [`dial`].
//! - With the feature `testing`, what the tests of services share: `testing`.
//!
//! It knows nothing of events, databases, posts or comments.

pub mod auth;
pub mod bus;
pub mod call;
pub mod config;
pub mod content;
pub mod dial;
pub mod error;
pub mod fields;
pub mod host;
pub mod keys;
pub mod page;
pub mod planted;
pub mod program;
mod request;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod version;

pub use bus::Bus;
pub use call::Call;
pub use error::{Error, Explain, status};
pub use host::{Host, Running, StartError};
pub use keys::Keys;
