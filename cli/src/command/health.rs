//! `agora --health`: is the process ready that runs beside, as in a container?

use std::{net::SocketAddr, process::ExitCode};

use chassis::{config, program};
use clap::{CommandFactory as _, error::ErrorKind};
use serde::{Deserialize, Serialize};

use crate::{arguments::Arguments, error::Error, folder::Folder, options::Options};

/// What is to be known of its configuration, whichever service it is.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Listening {
    server: config::Server,
}

pub async fn run(
    options: &Options,
    address: Option<Option<SocketAddr>>,
) -> Result<ExitCode, Error> {
    let Some(address) = address else {
        let error = Arguments::command().error(ErrorKind::MissingSubcommand, "name a command");
        error.exit()
    };
    let address = match address {
        Some(address) => address,
        None => listening(options)?,
    };
    Ok(program::health(address).await)
}

/// Where the process listens that is meant: the `agora up` of the folder that was named, else
/// what the configuration says.
fn listening(options: &Options) -> Result<SocketAddr, Error> {
    let Some(folder) = &options.data else {
        let flags = serde_json::Map::new();
        return Ok(config::load(Listening::default(), None, flags)?.server.listen);
    };
    let folder = Folder::find(Some(folder))?;
    let run =
        folder.running().ok_or_else(|| folder.not_running("name an address: --health ADDRESS"))?;
    run.grpc.parse().map_err(Error::file("read", &folder.file("run.json")))
}
