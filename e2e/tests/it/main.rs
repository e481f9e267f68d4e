//! The real programs, as a user runs them.

#![allow(clippy::unwrap_used, missing_docs)]

mod check;
mod cluster;
mod damage;
mod errors;
mod failures;
mod fallback;
mod fork;
mod heal;
mod kill;
mod postgres;
mod moving;
mod rebuild;
mod replicas;
mod rewind;
mod story;
mod upgrade;
mod start;
mod write;
