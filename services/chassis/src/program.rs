//! A service as a program of its own: its command line, from start to exit code.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Running, StartError,
    config::{self, Telemetry},
    error::chain,
    telemetry,
    version::PROGRAM,
};

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
}

/// Runs a service until a signal stops it: reads its command line and its
/// configuration, starts it, waits. What goes wrong is told in one line.
pub async fn run<C, F>(
    defaults: C,
    telemetry: impl Fn(&C) -> &Telemetry,
    name: &str,
    start: impl FnOnce(C) -> F,
) -> ExitCode
where
    C: Serialize + DeserializeOwned,
    F: Future<Output = Result<Running, StartError>>,
{
    let arguments = Arguments::parse();
    let flags = serde_json::Map::new();
    let config = match config::load(defaults, arguments.config.as_deref(), flags) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    if arguments.print_config {
        print!("{}", config::print(&config));
        return ExitCode::SUCCESS;
    }
    serve(config, telemetry, name, start).await
}

/// Starts a service with its configuration and waits for its end.
pub async fn serve<C, F>(
    config: C,
    telemetry: impl Fn(&C) -> &Telemetry,
    name: &str,
    start: impl FnOnce(C) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Running, StartError>>,
{
    let _guard = match telemetry::init(telemetry(&config), name) {
        Ok(guard) => guard,
        Err(error) => return fail(&error),
    };
    match start(config).await {
        Ok(running) => match running.wait().await {
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
