//! The parts of `./dev bench`: what is measured, against what, in one run.

pub mod databases;
pub mod echo;
pub mod load;
pub mod outage;
pub mod processes;
pub mod report;
pub mod rows;
pub mod up;
