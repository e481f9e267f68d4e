//! A service as a program of its own: its command line, from start to exit code.

mod health;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Running, StartError,
    config::{self, Host},
    error::chain,
    host::{RunError, Signals},
    telemetry,
    version::PROGRAM,
};

pub use health::ask as health;

/// Runs one service of Agora. Settings come from its defaults, then from the file, then
/// from variables such as AGORA_SERVER__LISTEN.
#[derive(Debug, Parser)]
#[command(version = PROGRAM)]
struct Arguments {
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings that are in force, and do nothing else
    #[arg(long)]
    print_config: bool,
    /// Ask the process that listens there whether it is ready, and end with 0 if it is
    /// [default: where these settings have it listen]
    #[arg(long, value_name = "ADDRESS")]
    health: Option<Option<SocketAddr>>,
}

/// Runs a service until a signal stops it: reads its command line and its
/// configuration, starts it, waits. What goes wrong is told in one line.
pub async fn run<C, F>(
    defaults: C,
    host: impl Fn(&C) -> Host,
    name: &str,
    start: impl FnOnce(C) -> F,
) -> ExitCode
where
    C: Serialize + DeserializeOwned,
    F: Future<Output = Result<Running, StartError>>,
{
    let command = Arguments::command().display_name(format!("agora-{name}"));
    let arguments = Arguments::from_arg_matches(&command.get_matches());
    let arguments = arguments.unwrap_or_else(|error| error.exit());
    let flags = serde_json::Map::new();
    let config = match config::load(defaults, arguments.config.as_deref(), flags) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    if arguments.print_config {
        print!("{}", config::print(&config));
        return ExitCode::SUCCESS;
    }
    if let Some(address) = arguments.health {
        return health(address.unwrap_or(host(&config).server.listen)).await;
    }
    serve(config, host, name, start).await
}

/// Starts a service with its configuration and waits for its end.
pub async fn serve<C, F>(
    config: C,
    host: impl Fn(&C) -> Host,
    name: &str,
    start: impl FnOnce(C) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Running, StartError>>,
{
    let _guard = match telemetry::init(&host(&config).telemetry, name) {
        Ok(guard) => guard,
        Err(error) => return fail(&error),
    };
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(&RunError::Signals(error)),
    };
    // The first process of a container is not ended by a signal that it does not catch, and
    // a start may take long: a view may have to be fetched.
    let started = tokio::select! {
        started = start(config) => started,
        signal = signals.next() => {
            tracing::info!(signal, "ended before it had started");
            return ExitCode::SUCCESS;
        }
    };
    match started {
        Ok(running) => match running.wait_for(signals).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {}", chain(error));
    ExitCode::FAILURE
}
