//! `agora admin`: what operators do.

mod adopt;
pub mod dead_letters;
pub mod moving;
pub mod rebuild;
pub mod restore;
pub mod stream;

use std::process::ExitCode;

use clap::Subcommand;

use crate::{error::Error, options::Options};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// See to the events that a service could not apply
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Where journal and stream hold different events, take the stream's and park the journal's
    Fork(restore::Fork),
    /// Move what a service owns from a SQLite file to PostgreSQL
    Move(moving::Move),
    /// Make the view anew from the streams, without anyone noticing
    #[command(subcommand)]
    Rebuild(rebuild::Command),
    /// Make a source's database again, from its journal and its stream
    Restore(restore::Restore),
    /// Compare streams with their journals, fill damaged ones again, and take over others'
    #[command(subcommand)]
    Stream(stream::Command),
}

pub async fn run(options: &Options, command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::DeadLetters(command) => dead_letters::run(options, command).await?,
        Command::Fork(fork) => restore::fork(options, fork).await?,
        Command::Move(arguments) => moving::run(options, arguments).await?,
        Command::Rebuild(command) => rebuild::run(options, command).await?,
        Command::Restore(restore) => restore::restore(options, restore).await?,
        Command::Stream(command) => return stream::run(options, command).await,
    }
    Ok(ExitCode::SUCCESS)
}
