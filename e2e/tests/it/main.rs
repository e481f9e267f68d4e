//! The real programs, as a user runs them.

#![allow(clippy::unwrap_used, missing_docs)]

mod check;
mod damage;
mod errors;
mod heal;
mod kill;
mod postgres;
mod replicas;
mod story;
mod write;
