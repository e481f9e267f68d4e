//! The post service: its rules, its store on a real database, and the whole of it over
//! gRPC and a real NATS.

#![allow(clippy::unwrap_used)]

mod commands;
mod domain;
mod fixture;
mod store;

mod callers;
mod close;
mod create;
mod delete;
mod events;
mod get;
mod list;
mod program;
mod restart;
mod retry;
mod update;
