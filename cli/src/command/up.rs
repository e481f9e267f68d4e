//! `agora up`: everything in one process.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::PathBuf,
};

use chassis::host::reachable;
use serde::Serialize;

use crate::{
    error::Error,
    folder::{Folder, Run},
    options::Options,
    output,
    up::{
        config::Config,
        data, disk, greeting,
        nats::{Server, Setup},
        process, services,
    },
};

const EXAMPLES: &str = "\
Examples:
  agora up
  agora up --data ./data --listen 127.0.0.1:0 --http-listen 127.0.0.1:0 --nats-port 0
  agora up --nats-url nats://127.0.0.1:4222
  agora up --config agora.toml --print-config

--print-config shows all settings. Set them in a TOML file, or in the environment as
AGORA_<SECTION>__<KEY>, such as AGORA_SERVER__LISTEN. Flags override the environment, and
the environment overrides the file.";

/// What is logged on a terminal. The chassis says itself when NATS comes and goes.
const QUIET: &str = "warn,async_nats=error";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Where gRPC and gRPC-Web listen; port 0 takes any free one [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where /livez, /readyz and /metrics listen [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDRESS")]
    http_listen: Option<SocketAddr>,
    /// Where the embedded NATS server listens [default: 7422]
    #[arg(long, value_name = "PORT")]
    nats_port: Option<u16>,
    /// Use a running NATS server instead of an embedded one
    #[arg(long, value_name = "URL", conflicts_with = "nats_port")]
    nats_url: Option<String>,
    /// What is logged, such as info or info,chassis=debug [default: info; on a terminal warn]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// A TOML file with further settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration that results, and exit
    #[arg(long)]
    print_config: bool,
}

/// The flags as a layer of the configuration.
#[derive(Serialize)]
struct Flags {
    server: ServerFlags,
    nats: NatsFlags,
    telemetry: TelemetryFlags,
}

#[derive(Serialize)]
struct ServerFlags {
    listen: Option<SocketAddr>,
    http_listen: Option<SocketAddr>,
}

#[derive(Serialize)]
struct NatsFlags {
    port: Option<u16>,
    url: Option<String>,
}

#[derive(Serialize)]
struct TelemetryFlags {
    log: Option<String>,
}

pub async fn run(options: &Options, arguments: Arguments) -> Result<(), Error> {
    let flags = Flags {
        server: ServerFlags { listen: arguments.listen, http_listen: arguments.http_listen },
        nats: NatsFlags { port: arguments.nats_port, url: arguments.nats_url },
        telemetry: TelemetryFlags { log: arguments.log },
    };
    let mut defaults = Config::default();
    // Who watches it is greeted, and told what is wrong; a file of logs tells all.
    if io::stderr().is_terminal() {
        defaults.telemetry.log = QUIET.to_owned();
    }
    let config = chassis::config::load(defaults, arguments.config.as_deref(), flags)?;
    if arguments.print_config {
        return output::print(chassis::config::print(&config));
    }
    config.nats.check()?;
    let _telemetry = chassis::telemetry::init(&config.telemetry, "agora")?;

    let folder = Folder::find(options.data.as_deref())?;
    disk::check(&folder)?;
    run_on(options, config, &folder).await.map_err(|error| disk::explain(&folder, error))
}

/// Runs everything on a data folder.
async fn run_on(options: &Options, mut config: Config, folder: &Folder) -> Result<(), Error> {
    let _lock = data::lock(folder)?;
    if let Some(id) = folder.run().and_then(|run| run.nats_process_id) {
        process::stop_stale(id, &folder.file("nats.conf")).await?;
    }
    folder.remove_run();
    data::make_keys(folder)?;
    if config.installation.name.is_none() {
        config.installation.name = Some(data::installation(folder)?);
    }
    match config.nats.url.clone() {
        Some(url) => serve(options, &config, folder, url, None).await,
        None => {
            let setup = Setup::new(folder, config.nats.port)?;
            let url = setup.url();
            let note = format!("nats-server {}, log in {}", setup.version, setup.log.display());
            let server = Server::start(setup).await?;
            let served = serve(options, &config, folder, url, Some((&server, note))).await;
            // The services are gone: nothing is on its way to the bus any more.
            server.stop().await;
            served
        }
    }
}

/// Runs every service over a NATS server until a signal or a failure.
async fn serve(
    options: &Options,
    config: &Config,
    folder: &Folder,
    nats_url: String,
    nats: Option<(&Server, String)>,
) -> Result<(), Error> {
    let embedded = nats.as_ref().map(|(server, _)| server.detail());
    let running = services::start(config, folder, nats_url.clone(), embedded).await?;
    let process_id = nats.as_ref().map(|(server, _)| server.process_id());
    let mut run = Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process_id: std::process::id(),
        grpc: reachable(running.grpc_address()).to_string(),
        http: reachable(running.http_address()).to_string(),
        nats: nats_url,
        nats_process_id: process_id.as_ref().map(|id| *id.borrow()),
        data: folder.path().to_owned(),
        key: folder.file(data::PRIVATE_KEY),
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
    };
    folder.write_run(&run)?;
    greet(options, &run, nats.as_ref().map_or("", |(_, note)| note), folder)?;

    let noting = async {
        let Some(mut process_id) = process_id else { return std::future::pending().await };
        while process_id.changed().await.is_ok() {
            run.nats_process_id = Some(*process_id.borrow_and_update());
            if let Err(error) = folder.write_run(&run) {
                tracing::warn!(error = %error, "cannot note the new nats-server");
            }
        }
        std::future::pending::<()>().await
    };
    let ended = tokio::select! {
        ended = running.wait() => ended,
        () = noting => Ok(()),
    };
    folder.remove_run();
    Ok(ended?)
}

fn greet(options: &Options, run: &Run, nats: &str, folder: &Folder) -> Result<(), Error> {
    if options.json {
        return output::print(serde_json::to_string(run).expect("a Run is JSON"));
    }
    let named = options.data.is_some().then_some(folder);
    output::print(greeting::lines(run, nats, named))
}
