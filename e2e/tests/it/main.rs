//! The real programs, as a user runs them.

#![allow(clippy::unwrap_used, missing_docs)]

mod backup;
mod check;
mod cluster;
mod damage;
mod errors;
mod failures;
mod fallback;
mod fork;
mod heal;
mod kill;
mod moving;
mod postgres;
mod rebuild;
mod replicas;
mod rewind;
mod start;
mod story;
mod upgrade;
mod write;
