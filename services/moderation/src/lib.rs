//! The moderation service: a policy per site judges every revision, moderators decide
//! on what it holds. It owns policies and decisions and their events, and consumes what
//! the post and comment services say.
//!
//! [`rules`] judges a text, [`domain`] holds the rules of deciding, both without I/O;
//! `consumer` has every revision judged once; `grpc` takes requests apart, `store` holds
//! the SQL. The way of a write is the event store's: see [`eventstore::start`].

// An arm for all other variants would hide the next one, above all the next type of event.
#![warn(clippy::wildcard_enum_match_arm)]

mod config;
mod consumer;
pub mod domain;
mod error;
mod grpc;
mod queue;
pub mod rules;
pub mod store;

use agora_proto::moderation::v1::moderation_service_server::ModerationServiceServer;
use chassis::{Host, Running, StartError, host::MAX_RESPONSE_BYTES, page::Sealer};
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
        None => mount_on(host, registry, config, Sqlite::new()).await,
        Some(_) => mount_on(host, registry, config, Postgres::new()).await,
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
    let reader = S::reader(owned.readers);
    queue::watch(host, reader.clone());
    let service = grpc::Service {
        committer: owned.committer,
        reader,
        watermarks: owned.watermarks,
        sealer: Sealer::new(&keys),
        keys,
    };
    let server = ModerationServiceServer::new(service)
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
    let mut host = Host::open(&config.host(), "moderation").await?;
    let mut registry = Registry::new(&config.owners)?;
    mount(&mut host, &mut registry, &config).await?;
    registry.serve(host).await
}
