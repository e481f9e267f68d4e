//! `./dev faults`: real programs under load, faults from a seed, and whether everything
//! that was promised held.

use std::process::ExitCode;

use crate::Result;

mod check;
mod inject;
mod load;
pub mod plan;
pub mod planted;
mod probe;
mod record;
mod report;
mod run;
mod steady;

pub use check::{Found, settle};
pub use inject::append;
pub use load::{Load, Manner};
pub use report::Report;
pub use run::{Conditions, run};
pub use steady::{Steady, steady};

/// The site that everything is written on.
pub const SITE: &str = "faults";

/// What a program ends with: 0 if everything held, 1 if something did not, and 3 after an
/// error, which it says.
pub fn exit_code(held: Result<bool>) -> ExitCode {
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}
