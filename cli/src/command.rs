//! One file per command.

pub mod admin;
pub mod comment;
pub mod decide;
pub mod events;
pub mod feed;
pub mod health;
pub mod import;
pub mod policy;
pub mod post;
pub mod queue;
pub mod serve;
pub mod smoke;
pub mod thread;
pub mod token;
pub mod up;
pub mod verify;

use std::process::{self, ExitCode};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    arguments::{Arguments, Command},
    error::Error,
    output,
};

/// How a program ends that SIGTERM has ended.
const TERMINATED: i32 = 143;

/// Runs the command that was given.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let options = &arguments.options;
    let Some(command) = arguments.command else {
        return health::run(options, arguments.health).await;
    };
    // Those two catch it by themselves, to end in order.
    if !matches!(command, Command::Up(_) | Command::Serve(_)) {
        end_at_sigterm()?;
    }
    match command {
        Command::Up(arguments) => up::run(options, arguments).await?,
        Command::Serve(arguments) => return serve::run(arguments).await,
        Command::Token(arguments) => token::run(options, arguments)?,
        Command::Post(command) => post::run(options, command).await?,
        Command::Comment(command) => comment::run(options, command).await?,
        Command::Thread(command) => thread::run(options, command).await?,
        Command::Feed(arguments) => feed::run(options, arguments).await?,
        Command::Queue(arguments) => queue::run(options, arguments).await?,
        Command::Decide(command) => decide::run(options, command).await?,
        Command::Policy(command) => policy::run(options, command).await?,
        Command::Events(command) => events::run(options, command).await?,
        Command::Import(command) => return import::run(options, command).await,
        Command::Admin(command) => return admin::run(options, command).await,
        Command::Smoke(arguments) => smoke::run(options, arguments).await?,
        Command::Verify(arguments) => return verify::run(options, arguments).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends the program at SIGTERM. Else the kernel does, but not the first process of a container.
fn end_at_sigterm() -> Result<(), Error> {
    let signal = signal(SignalKind::terminate());
    let mut signal = signal.map_err(Error::failed("cannot wait for signals"))?;
    tokio::spawn(async move {
        if signal.recv().await.is_some() {
            process::exit(TERMINATED);
        }
    });
    Ok(())
}

/// A text that was given, or standard input where that is `-`.
fn input(text: String) -> Result<String, Error> {
    if text != "-" {
        return Ok(text);
    }
    let read = std::io::read_to_string(std::io::stdin());
    let mut text = read.map_err(Error::failed("cannot read standard input as UTF-8"))?;
    // The end of the last line belongs to the pipe, not to the text.
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Says how a list goes on.
fn more(command: &str, page_token: &str) {
    output::remark(format!("… more: {command} --page-token {page_token}, or all with --all"));
}
