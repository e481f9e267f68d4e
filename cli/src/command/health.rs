//! `agora --health`: is the process ready that runs beside, as in a container?

use std::{net::SocketAddr, process::ExitCode};

use chassis::{config, program};
use clap::{CommandFactory as _, error::ErrorKind};
use serde::{Deserialize, Serialize};

use crate::{arguments::Arguments, error::Error};

/// What is to be known of its configuration, whichever service it is.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Listening {
    server: config::Server,
}

pub async fn run(address: Option<Option<SocketAddr>>) -> Result<ExitCode, Error> {
    let Some(address) = address else {
        let error = Arguments::command().error(ErrorKind::MissingSubcommand, "name a command");
        error.exit()
    };
    let listening = Listening::default();
    let flags = serde_json::Map::new();
    let configured = config::load(listening, None, flags)?.server.listen;
    Ok(program::health(address.unwrap_or(configured)).await)
}
