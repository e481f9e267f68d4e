//! `agora serve`: one service in a process of its own.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use chassis::{Running, StartError, config::Telemetry, program};
use clap::ValueEnum;
use serde::{Serialize, de::DeserializeOwned};

use crate::{error::Error, output};

const EXAMPLES: &str = "\
Examples:
  agora serve post --database /var/lib/agora/post.db --nats-url nats://nats:4222
  agora serve comment --config comment.toml
  agora serve query --listen 127.0.0.1:0 --http-listen 127.0.0.1:0
  agora serve moderation --print-config

What can be set stands in --print-config: in a TOML file, or in the environment as
AGORA_<SECTION>__<KEY>, such as AGORA_DATABASE__PATH. Flags come first, then the
environment, then the file.

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
    /// Print the configuration that results, and end
    #[arg(long)]
    print_config: bool,
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
            serve(arguments, "post", defaults, |it| &it.telemetry, agora_post::start).await
        }
        Service::Comment => {
            let defaults = agora_comment::Config::default();
            serve(arguments, "comment", defaults, |it| &it.telemetry, agora_comment::start).await
        }
        Service::Moderation => {
            let defaults = agora_moderation::Config::default();
            serve(arguments, "moderation", defaults, |it| &it.telemetry, agora_moderation::start)
                .await
        }
        Service::Query => {
            let defaults = agora_query::Config::default();
            serve(arguments, "query", defaults, |it| &it.telemetry, agora_query::start).await
        }
    }
}

async fn serve<C, F>(
    arguments: Arguments,
    name: &str,
    defaults: C,
    telemetry: impl Fn(&C) -> &Telemetry,
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
    Ok(program::serve(config, telemetry, name, start).await)
}
