//! The comment service: its rules, its store on a real database, and the whole of it
//! over gRPC and a real NATS, with the real post and moderation services.

#![allow(clippy::unwrap_used)]

mod commands;
mod domain;
mod fixture;
mod store;

mod change;
mod create;
mod list;
mod not_heard_of;
mod restart;
mod retry;
mod visible;
