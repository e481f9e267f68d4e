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
    /// List, retry and drop dead letters: events that a service could not apply
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Resolve a fork of journal and stream: keep the stream's events, park the journal's as dead letters
    Fork(restore::Fork),
    /// Move what a service owns from a SQLite file to PostgreSQL
    Move(moving::Move),
    /// Rebuild the CQRS read model by replay of the streams, without downtime
    #[command(subcommand)]
    Rebuild(rebuild::Command),
    /// Restore a source's database from its journal and its stream
    Restore(restore::Restore),
    /// Compare streams with their journals, refill damaged ones, and adopt others'
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
