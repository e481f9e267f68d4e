//! The comment service: replies to posts and to other comments. It owns comments and
//! their events, and consumes what the post and moderation services say.
//!
//! [`domain`] holds the rules, without I/O; `grpc` takes requests apart, `store` holds
//! the SQL, `posts` asks the post service for a post that was not heard of yet. The way
//! of a write is the event store's: see [`eventstore::start`].

// An arm for all other variants would hide the next one, above all the next type of event.
#![warn(clippy::wildcard_enum_match_arm)]

mod config;
mod consumer;
pub mod domain;
mod error;
mod grpc;
mod posts;
pub mod store;

use agora_proto::comment::v1::comment_service_server::CommentServiceServer;
use chassis::{Host, Running, StartError, host::MAX_RESPONSE_BYTES, page::Sealer};
use eventstore::{Registry, Settings};

pub use config::{Config, PostService};
pub use error::Error;

use store::{Postgres, Sqlite, Store};

/// Puts the service into a process.
///
/// # Errors
/// If its database or its secret cannot be opened, or the post service's address is
/// none.
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
    let posts = posts::Posts::new(&config.post_service)?;
    let keys = host.keys(config.database.folder())?;
    let settings = Settings { database: &config.database, nats: &config.nats };
    let owned = eventstore::start(host, registry, store, settings).await?;
    let service = grpc::Service {
        committer: owned.committer,
        reader: S::reader(owned.readers),
        watermarks: owned.watermarks,
        posts,
        sealer: Sealer::new(&keys),
        keys,
    };
    let server = CommentServiceServer::new(service)
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
    let mut host = Host::open(&config.host(), "comment").await?;
    let mut registry = Registry::new(&config.owners)?;
    mount(&mut host, &mut registry, &config).await?;
    registry.serve(host).await
}
