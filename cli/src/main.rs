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

#[tokio::main]
async fn main() -> ExitCode {
    match command::run(arguments::Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}
