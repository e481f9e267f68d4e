//! `agora`: everything in one process, the client commands and the operator commands.

mod arguments;
mod client;
mod command;
mod duration;
mod error;
mod folder;
mod import;
mod json;
mod output;
mod render;
mod token;
mod up;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

/// Batches are built of many small pieces that one thread makes and another drops.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match command::run(arguments::Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}
