//! One file per command.

pub mod admin;
mod answer;
pub mod comment;
pub mod completions;
pub mod decide;
pub mod demo;
pub mod events;
pub mod feed;
pub mod health;
pub mod import;
mod list;
pub mod man;
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
    arguments::{self, Arguments, Command},
    error::Error,
    options::{Color, Options},
    output,
};

/// How a program ends that SIGTERM has ended.
const TERMINATED: i32 = 143;

/// Runs the command that was given.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let options = &arguments.options;
    match options.color {
        Color::Auto => {}
        Color::Always => owo_colors::set_override(true),
        Color::Never => owo_colors::set_override(false),
    }
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
        Command::Token(arguments) => token::run(options, arguments, arguments::command)?,
        Command::Post(command) => post::run(options, command).await?,
        Command::Comment(command) => comment::run(options, command).await?,
        Command::Thread(arguments) => thread::run(options, arguments).await?,
        Command::Feed(arguments) => feed::run(options, arguments).await?,
        Command::Queue(arguments) => queue::run(options, arguments).await?,
        Command::Decide(command) => decide::run(options, command).await?,
        Command::Policy(command) => policy::run(options, command).await?,
        Command::Events(command) => events::run(options, command).await?,
        Command::Demo(arguments) => demo::run(options, arguments).await?,
        Command::Import(command) => return import::run(options, command, arguments::command).await,
        Command::Admin(command) => return admin::run(options, command).await,
        Command::Smoke(arguments) => smoke::run(options, arguments).await?,
        Command::Verify(arguments) => return verify::run(options, arguments).await,
        Command::Completions(arguments) => completions::run(&arguments, arguments::command())?,
        Command::Man(arguments) => man::run(&arguments, arguments::command())?,
        Command::Client => output::print(help_of("client"))?,
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

/// What `agora help COMMAND` prints.
fn help_of(name: &str) -> String {
    let mut command = arguments::command();
    command.build();
    let found = command.find_subcommand_mut(name).expect("it is one of the commands");
    found.render_long_help().to_string()
}

/// Says how a list goes on that is not at its end: for people by a command, for scripts by a
/// token.
fn more(options: &Options, command: &str, page_token: &str) {
    output::remark(match options.json {
        true => format!("… more: --page-token {page_token}, or all with --all"),
        false => format!("… more: {} --all", options.propose(command)),
    });
}
