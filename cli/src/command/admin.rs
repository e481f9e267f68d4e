//! `agora admin`: what operators do.

pub mod dead_letters;
pub mod rebuild;
pub mod stream;

use std::process::ExitCode;

use clap::Subcommand;

use crate::{arguments::Options, error::Error};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// See to the events that a service could not apply
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Make the view anew from the streams, without anyone noticing
    #[command(subcommand)]
    Rebuild(rebuild::Command),
    /// Compare streams with their journals, and fill damaged ones again
    #[command(subcommand)]
    Stream(stream::Command),
}

pub async fn run(options: &Options, command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::DeadLetters(command) => dead_letters::run(options, command).await?,
        Command::Rebuild(command) => rebuild::run(options, command).await?,
        Command::Stream(command) => return stream::run(options, command).await,
    }
    Ok(ExitCode::SUCCESS)
}
