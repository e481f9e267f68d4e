//! The real programs, as a user runs them.

#![allow(clippy::unwrap_used, missing_docs)]

mod backup;
mod check;
mod cluster;
mod damage;
mod disk;
mod errors;
mod failures;
mod fallback;
mod fork;
mod heal;
mod health;
mod installation;
mod kill;
mod metrics;
mod moving;
mod postgres;
mod proxy;
mod rebuild;
mod replicas;
mod rewind;
mod snapshot;
mod start;
mod steady;
mod story;
mod tls;
mod traces;
mod upgrade;
mod write;
