//! `agora`: everything in one process, the client commands and the operator commands.

/// The system's costs a tenth of a write, most of it for what SQLite and HTTP/2 allocate.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod arguments;
mod client;
mod command;
#[cfg(test)]
mod configuration;
mod duration;
mod error;
mod file;
mod folder;
mod import;
mod json;
mod nats;
mod options;
mod output;
mod pager;
mod progress;
mod render;
mod token;
mod up;
mod verify;

use std::process::ExitCode;

/// Does what the command line says.
#[tokio::main]
pub async fn main() -> ExitCode {
    match command::run(arguments::parse()).await {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}
