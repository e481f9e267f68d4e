//! The query service: the fast read side. It owns no events: its view is folded from
//! those of the others, and can be made again from them at any time.
//!
//! [`domain`] holds the fold, [`thread`] puts pages together, both without I/O;
//! `consumer` is the one task that writes the view, `store` holds the SQL, `pages` keeps
//! encoded pages, `grpc` takes requests apart.

// An arm for all other variants would hide the next one, above all the next type of event.
#![warn(clippy::wildcard_enum_match_arm)]

mod config;
mod consumer;
pub mod domain;
mod error;
mod fallback;
pub mod feed;
mod grpc;
mod incomplete;
mod origin;
mod pages;
mod ready;
mod rebuild;
mod replay;
mod slots;
mod snapshot;
pub mod store;
pub mod thread;
mod visible;

use std::sync::Arc;

use agora_proto::admin::v1::view_service_server::ViewServiceServer;
use bus_schema::Source;
use chassis::{Host, Running, StartError, host::MAX_RESPONSE_BYTES, page::Sealer};
use eventstore::{
    Registry, Watermarks, database,
    dead_letter::{self, Letterbox},
    leader::Leadership,
};

use consumer::Writer;
use fallback::Fallback;
use pages::Pages;
use ready::Complete;
use rebuild::{Rebuilder, Served};
use slots::Slots;
use snapshot::Giver;
use store::{Reader, View};
use visible::Visible;

pub use config::{Config, Fallback as FallbackConfig, Owner, Snapshot as SnapshotConfig};
pub use error::Error;
pub use replay::Replay;

/// Puts the service into a process.
///
/// # Errors
/// If its view or its secret cannot be opened.
pub async fn mount(
    host: &mut Host,
    registry: &mut Registry,
    config: &Config,
) -> Result<(), StartError> {
    let keys = host.keys(Some(config.database.folder()))?;
    let slots = Slots::new(&config.database.path);
    let origin =
        snapshot::prepare(&slots, &config.snapshot, host.bus().installation(), host.grpc_address())
            .await?;
    let path = slots.serving().map_err(|error| StartError::Other(error.into()))?;
    let mut view = View::open_beside(&path, &slots.letters()).await?;
    tracing::info!(view = %path.display(), origin = origin.as_str(), "opening the view");
    origin.tell();
    let readers = view.readers(config.database.readers).await?;
    let letters = view.letters(1).await?;
    let reader = Reader::new(readers, letters.clone());
    let incomplete = view.incomplete();

    let watermarks = Watermarks::new(&Source::ALL);
    let position = view.position().await.map_err(|error| StartError::Other(error.into()))?;
    watermarks.set_all(position);
    let folded = view.newest_revision().await.map_err(|error| StartError::Other(error.into()))?;
    let fallback = Fallback::start(host, &config.fallback, &watermarks).await;
    let fallback = fallback.map_err(|error| StartError::Other(error.into()))?;
    let complete = view.is_complete().await.map_err(|error| StartError::Other(error.into()))?;
    let complete = Complete::new(complete);
    let pages = Arc::new(Pages::new());
    let (writer, folder) = Writer::new(view, folded, watermarks.clone(), pages.clone());
    let writer = writer.measured(Visible::new());
    host.spawn_thread("query view", async move { writer.run().await.close().await });
    let readers = config.database.readers;
    ready::watch(host, &watermarks, &folder, fallback.as_ref(), &complete);
    let rebuilder = Rebuilder::new(
        host,
        registry.owners(),
        slots.clone(),
        folder.clone(),
        reader.clone(),
        readers,
    );
    let giver = Giver::new(host, slots.clone(), folder.clone(), rebuilder.clone(), complete);
    for source in Source::ALL {
        let served = Served::new(folder.clone(), rebuilder.clone());
        let leadership = Leadership::always();
        eventstore::consumer::spawn(
            host,
            &registry.owners(),
            "query",
            source,
            served,
            leadership,
            &watermarks,
        );
    }

    // The letters' file stands beside the view's, on the same disk, and is never replaced.
    database::watch(host, "query", letters.clone());
    let served = reader.clone();
    database::measure_pool(host, "query", move || served.pool());
    database::measure_file(host, "query", move || slots.serving().ok());
    dead_letter::watch(host, "query", &Source::ALL, letters.clone());
    registry.add_letterbox("query", Letterbox::new(&Source::ALL, letters, folder));

    let sealer = Sealer::new(&keys);
    let reads = reader.clone();
    let service = grpc::Service { reader: reads, watermarks, sealer, pages, incomplete, fallback };
    host.add_service(grpc::Server::new(service, host.max_request_bytes(), MAX_RESPONSE_BYTES));
    let views = ViewServiceServer::new(grpc::Views { reader, rebuilder, giver })
        .max_decoding_message_size(host.max_request_bytes())
        .max_encoding_message_size(MAX_RESPONSE_BYTES);
    host.add_service(views);
    Ok(())
}

/// Starts the service in a process of its own.
///
/// # Errors
/// If it cannot start.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let mut host = Host::open(&config.host(), "query").await?;
    let mut registry = Registry::new(&config.owners)?;
    mount(&mut host, &mut registry, &config).await?;
    registry.serve(host).await
}
