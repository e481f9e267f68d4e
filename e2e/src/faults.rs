//! `./dev faults`: real programs under load, faults from a seed, and whether everything
//! that was promised held.

mod check;
mod inject;
mod load;
pub mod plan;
pub mod planted;
mod proxy;
mod record;
mod report;
mod run;
mod steady;

pub use check::{Found, settle};
pub use inject::append;
pub use load::{Load, Manner};
pub use proxy::Proxy;
pub use report::Report;
pub use run::{Conditions, run};
pub use steady::{Steady, steady};

/// The site that everything is written on.
pub const SITE: &str = "faults";
