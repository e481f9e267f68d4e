//! The four services in one process, on one address.

use std::convert::Infallible;

use chassis::{
    Host, Running, StartError,
    config::{Database, Owners, View},
    host::reachable,
};
use eventstore::Registry;

use tokio::sync::watch;

use super::config::Config;
use crate::folder::Folder;

/// The part of the process' health that the embedded NATS server is.
const EMBEDDED_NATS: &str = "embedded NATS";

/// Starts every service over the NATS server at `nats_url`, with its database in the
/// data folder. `embedded` tells how that server is, if it is the process' own.
pub async fn start(
    config: &Config,
    folder: &Folder,
    nats_url: String,
    embedded: Option<watch::Receiver<String>>,
) -> Result<Running, StartError> {
    let common = config.host(folder, nats_url);
    let mut host = Host::open(&common, "agora").await?;
    if let Some(detail) = embedded {
        watch_nats(&mut host, detail);
    }
    let database = |file: &str| Database { path: folder.file(file), ..Database::default() };
    let chassis::config::Host { server, installation, nats, auth, telemetry } = common;
    // All owners are in this process.
    let owners = Owners::default();
    let mut registry = Registry::new(&owners)?;

    let post = agora_post::Config {
        server: server.clone(),
        installation: installation.clone(),
        nats: nats.clone(),
        auth: auth.clone(),
        telemetry: telemetry.clone(),
        database: database("post.db"),
    };
    agora_post::mount(&mut host, &mut registry, &post).await?;
    let comment = agora_comment::Config {
        server: server.clone(),
        installation: installation.clone(),
        nats: nats.clone(),
        auth: auth.clone(),
        telemetry: telemetry.clone(),
        owners: owners.clone(),
        database: database("comment.db"),
        post_service: agora_comment::PostService {
            url: format!("http://{}", reachable(host.grpc_address())),
            ..Default::default()
        },
    };
    agora_comment::mount(&mut host, &mut registry, &comment).await?;
    let moderation = agora_moderation::Config {
        server: server.clone(),
        installation: installation.clone(),
        nats: nats.clone(),
        auth: auth.clone(),
        telemetry: telemetry.clone(),
        owners: owners.clone(),
        database: database("moderation.db"),
    };
    agora_moderation::mount(&mut host, &mut registry, &moderation).await?;
    let view = View { path: folder.file("view.db"), ..View::default() };
    let owner = |file: &str| agora_query::Owner { path: Some(folder.file(file)), url: None };
    let fallback = agora_query::FallbackConfig {
        post: owner("post.db"),
        comment: owner("comment.db"),
        ..Default::default()
    };
    let query = agora_query::Config {
        server,
        installation,
        nats,
        auth,
        telemetry,
        owners,
        database: view,
        fallback,
        snapshot: agora_query::SnapshotConfig::default(),
    };
    agora_query::mount(&mut host, &mut registry, &query).await?;
    registry.serve(host).await
}

/// Has health say how the embedded server is. It goes and comes as any NATS server does: who
/// was ready stays so.
fn watch_nats(host: &mut Host, mut detail: watch::Receiver<String>) {
    let (health, shutdown) = (host.health(EMBEDDED_NATS), host.shutdown());
    host.spawn(EMBEDDED_NATS, async move {
        loop {
            health.set_ready(true, &detail.borrow_and_update());
            if !matches!(shutdown.run_until_cancelled(detail.changed()).await, Some(Ok(()))) {
                return Ok::<(), Infallible>(());
            }
        }
    });
}
