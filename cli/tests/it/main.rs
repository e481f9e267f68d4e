//! The real program, as people run it.

#![allow(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod admin;
mod arguments;
mod demo;
mod import;
mod people;
mod program;
mod readme;
mod server;
#[cfg(target_os = "linux")]
mod signals;
mod smoke;
mod token;
mod up;
mod verify;
