//! A steady load, for systems that others make fail: writes and reads until it is told to
//! end, remembers every answer, and then checks that nothing was lost or has happened twice.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use e2e::{
    Access, Addresses, Result,
    faults::{Manner, exit_code, steady},
};
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  load --key key.pem --nats-url nats://nats:4222 --post-server http://post:7401 \\
    --comment-server http://comment:7402 --moderation-server http://moderation:7403 \\
    --query-server http://query:7404 --query-replicas http://query-headless:7404

It ends with SIGTERM, Ctrl-C, or `load --stop` in the same container, prints one JSON object
on standard output, and ends with 0 if everything held, with 1 if not.";

/// Writes and reads as clients do, and checks what they were told.
#[derive(Parser)]
#[command(name = "load", after_help = EXAMPLES)]
struct Arguments {
    /// Where the post service is.
    #[arg(
        long,
        value_name = "URL",
        env = "AGORA_POST_SERVER",
        default_value = "http://127.0.0.1:7401"
    )]
    post_server: String,
    /// Where the comment service is.
    #[arg(
        long,
        value_name = "URL",
        env = "AGORA_COMMENT_SERVER",
        default_value = "http://127.0.0.1:7402"
    )]
    comment_server: String,
    /// Where the moderation service is.
    #[arg(
        long,
        value_name = "URL",
        env = "AGORA_MODERATION_SERVER",
        default_value = "http://127.0.0.1:7403"
    )]
    moderation_server: String,
    /// Where the query service is.
    #[arg(
        long,
        value_name = "URL",
        env = "AGORA_QUERY_SERVER",
        default_value = "http://127.0.0.1:7404"
    )]
    query_server: String,
    /// A name of every replica of the query service: each is checked [default:
    /// --query-server].
    #[arg(long, value_name = "URL", env = "AGORA_QUERY_REPLICAS")]
    query_replicas: Option<String>,
    /// Where NATS is.
    #[arg(
        long,
        value_name = "URL",
        env = "AGORA_NATS_URL",
        default_value = "nats://127.0.0.1:4222"
    )]
    nats_url: String,
    /// Who logs in to NATS, with the password.
    #[arg(long, value_name = "USER", env = "AGORA_NATS_USER", requires = "nats_password")]
    nats_user: Option<String>,
    /// The password.
    #[arg(long, env = "AGORA_NATS_PASSWORD", hide_env_values = true, requires = "nats_user")]
    nats_password: Option<String>,
    /// The private key to make tokens with, in PEM.
    #[arg(long, value_name = "FILE", env = "AGORA_KEY", required_unless_present = "stop")]
    key: Option<PathBuf>,
    /// How many writes a second.
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    writes: f64,
    /// How many threads are read a second.
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    reads: f64,
    /// End after so many seconds without being told to.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// How many seconds everything may take to be equal everywhere at the end.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    settle: u64,
    /// Have the load end that is the first process of this container.
    #[arg(long)]
    stop: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Arguments::parse() {
        Arguments { stop: true, .. } => stop(),
        arguments => run(arguments).await,
    };
    exit_code(ended)
}

async fn run(arguments: Arguments) -> Result<bool> {
    let Some(key) = &arguments.key else { return Err("there is no key".into()) };
    let private_pem = std::fs::read_to_string(key)
        .map_err(|error| format!("cannot read the key {}: {error}", key.display()))?;
    let access = Access {
        addresses: Addresses {
            post: vec![arguments.post_server],
            comment: vec![arguments.comment_server],
            moderation: vec![arguments.moderation_server],
            query: vec![arguments.query_server.clone()],
        },
        nats_url: arguments.nats_url,
        nats_login: arguments.nats_user.zip(arguments.nats_password),
        private_pem,
    };
    let replicas = arguments.query_replicas.unwrap_or(arguments.query_server);
    let checked = async || {
        let mut access = access.clone();
        access.addresses.query = each(&replicas).await?;
        Ok(access)
    };
    let manner = Manner::Steady { writes: arguments.writes, reads: arguments.reads };
    let patience = Duration::from_secs(arguments.settle);
    let ended = end(arguments.seconds)?;
    let found = steady(&access, manner, patience, ended, checked).await?;
    println!("{}", serde_json::to_string(&found)?);
    Ok(found.is_good())
}

/// Is done when a signal comes, or the time is over.
fn end(seconds: Option<u64>) -> Result<impl Future<Output = ()>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    Ok(async move {
        let over = async {
            match seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
            () = over => {}
        }
    })
}

/// The addresses behind a name.
async fn each(url: &str) -> Result<Vec<String>> {
    let uri: http::Uri = url.parse()?;
    let host = uri.host().ok_or_else(|| format!("{url} names no host"))?;
    let port = uri.port_u16().ok_or_else(|| format!("{url} names no port"))?;
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| format!("cannot look {host} up: {error}"))?;
    Ok(found.map(|address| format!("http://{address}")).collect())
}

/// Tells the first process of this container to end.
fn stop() -> Result<bool> {
    rustix::process::kill_process(rustix::process::Pid::INIT, rustix::process::Signal::TERM)?;
    Ok(true)
}
