//! `agora serve`: one service in a process of its own.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use chassis::{Running, StartError, config::Host, program};
use clap::ValueEnum;
use serde::{Serialize, de::DeserializeOwned};

use crate::{error::Error, output};

const EXAMPLES: &str = "\
Examples:
  export AGORA_INSTALLATION__NAME=team-a/agora    # needed: the same for all services of one Agora
  agora serve post --database /var/lib/agora/post.db --nats-url nats://nats:4222
  agora serve comment --config comment.toml
  agora serve query --listen 127.0.0.1:0 --http-listen 127.0.0.1:0
  agora serve moderation --print-config

--print-config shows all settings. Set them in a TOML file, or in the environment as
AGORA_<SECTION>__<KEY>, such as AGORA_DATABASE__PATH. Flags override the environment, and
the environment overrides the file.

Post, comment and moderation keep their events in PostgreSQL if AGORA_DATABASE__URL names a
database of their own, such as postgres://user:password@host:5432/post; several processes of
a service may then run, with the same AGORA_SERVER__SECRET.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Which service
    #[arg(value_enum)]
    service: Service,
    /// Where gRPC and gRPC-Web listen; port 0 takes any free one [default: 127.0.0.1, post
    /// 7401, comment 7402, moderation 7403, query 7404]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where /livez, /readyz and /metrics listen [default: 127.0.0.1, post 7481, comment
    /// 7482, moderation 7483, query 7484]
    #[arg(long, value_name = "ADDRESS")]
    http_listen: Option<SocketAddr>,
    /// Where NATS is [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,
    /// The service's database file
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// A TOML file with further settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration that results, and exit
    #[arg(long)]
    print_config: bool,
    /// Ask the process that listens there whether it is ready, and end with 0 if it is
    /// [default: where the configuration has it listen]
    #[arg(long, value_name = "ADDRESS")]
    health: Option<Option<SocketAddr>>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Service {
    /// Posts
    Post,
    /// Comments
    Comment,
    /// The policy and the queue
    Moderation,
    /// Threads and feeds
    Query,
}

/// The flags as a layer of the configuration.
#[derive(Serialize)]
struct Flags {
    server: ServerFlags,
    nats: NatsFlags,
    database: DatabaseFlags,
}

#[derive(Serialize)]
struct ServerFlags {
    listen: Option<SocketAddr>,
    http_listen: Option<SocketAddr>,
}

#[derive(Serialize)]
struct NatsFlags {
    url: Option<String>,
}

#[derive(Serialize)]
struct DatabaseFlags {
    path: Option<PathBuf>,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    match arguments.service {
        Service::Post => {
            let defaults = agora_post::Config::default();
            serve(arguments, "post", defaults, agora_post::Config::host, agora_post::start).await
        }
        Service::Comment => {
            let defaults = agora_comment::Config::default();
            let host = agora_comment::Config::host;
            serve(arguments, "comment", defaults, host, agora_comment::start).await
        }
        Service::Moderation => {
            let defaults = agora_moderation::Config::default();
            let host = agora_moderation::Config::host;
            serve(arguments, "moderation", defaults, host, agora_moderation::start).await
        }
        Service::Query => {
            let defaults = agora_query::Config::default();
            serve(arguments, "query", defaults, agora_query::Config::host, agora_query::start).await
        }
    }
}

async fn serve<C, F>(
    arguments: Arguments,
    name: &str,
    defaults: C,
    host: impl Fn(&C) -> Host,
    start: impl FnOnce(C) -> F,
) -> Result<ExitCode, Error>
where
    C: Serialize + DeserializeOwned,
    F: Future<Output = Result<Running, StartError>>,
{
    let flags = Flags {
        server: ServerFlags { listen: arguments.listen, http_listen: arguments.http_listen },
        nats: NatsFlags { url: arguments.nats_url },
        database: DatabaseFlags { path: arguments.database },
    };
    let config = chassis::config::load(defaults, arguments.config.as_deref(), flags)?;
    if arguments.print_config {
        output::print(chassis::config::print(&config))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(address) = arguments.health {
        return Ok(program::health(address.unwrap_or(host(&config).server.listen)).await);
    }
    Ok(program::serve(config, host, name, start).await)
}
