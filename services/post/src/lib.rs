//! The post service: what is discussed. It owns posts and their events, and consumes
//! nothing.
//!
//! [`domain`] holds the rules, without I/O; `grpc` takes requests apart, `store` holds
//! the SQL. The way of a write is the event store's: see [`eventstore::start`].

// An arm for all other variants would hide the next one, above all the next type of event.
#![warn(clippy::wildcard_enum_match_arm)]

mod config;
pub mod domain;
mod error;
mod grpc;
pub mod store;

use agora_proto::post::v1::post_service_server::PostServiceServer;
use chassis::{Host, Running, StartError, config::Owners, host::MAX_RESPONSE_BYTES, page::Sealer};
use eventstore::{Registry, Settings};

pub use config::Config;
pub use error::Error;

use store::{Postgres, Sqlite, Store};

/// Puts the service into a process.
///
/// # Errors
/// If its database or its secret cannot be opened.
pub async fn mount(
    host: &mut Host,
    registry: &mut Registry,
    config: &Config,
) -> Result<(), StartError> {
    match &config.database.url {
        None => mount_on(host, registry, config, Sqlite).await,
        Some(_) => mount_on(host, registry, config, Postgres).await,
    }
}

async fn mount_on<S: Store>(
    host: &mut Host,
    registry: &mut Registry,
    config: &Config,
    store: S,
) -> Result<(), StartError> {
    let keys = host.keys(config.database.folder())?;
    let settings = Settings { database: &config.database, nats: &config.nats };
    let owned = eventstore::start(host, registry, store, settings).await?;
    let service = grpc::Service {
        committer: owned.committer,
        reader: S::reader(owned.readers),
        watermarks: owned.watermarks,
        sealer: Sealer::new(&keys),
        keys,
    };
    let server = PostServiceServer::new(service)
        .max_decoding_message_size(host.max_request_bytes())
        .max_encoding_message_size(MAX_RESPONSE_BYTES);
    host.add_service(server);
    Ok(())
}

/// Starts the service in a process of its own.
///
/// # Errors
/// If it cannot start.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let mut host = Host::open(&config.host(), "post").await?;
    // It consumes nothing, so it asks nobody.
    let mut registry = Registry::new(&Owners::default())?;
    mount(&mut host, &mut registry, &config).await?;
    registry.serve(host).await
}
