//! The query service: the fast read side. It owns no events: its view is folded from
//! those of the others, and can be made again from them at any time.
//!
//! [`domain`] holds the fold, [`thread`] puts pages together, both without I/O;
//! `consumer` is the one task that writes the view, `store` holds the SQL, `pages` keeps
//! encoded pages, `grpc` takes requests apart.

mod config;
mod consumer;
pub mod domain;
mod error;
pub mod feed;
mod grpc;
mod pages;
mod replay;
pub mod store;
pub mod thread;

use std::sync::Arc;

use agora_proto::admin::v1::view_service_server::ViewServiceServer;
use bus_schema::Source;
use chassis::{
    Host, Running, StartError, Watermarks, database, host::MAX_RESPONSE_BYTES, leader::Leadership,
    page::Sealer,
};

pub use config::Config;
pub use error::Error;
pub use replay::Replay;

use consumer::Writer;
use pages::Pages;
use store::{Reader, View};

/// Puts the service into a process.
///
/// # Errors
/// If its view or its secret cannot be opened.
pub async fn mount(host: &mut Host, config: &Config) -> Result<(), StartError> {
    let keys = host.keys(Some(config.database.folder()))?;
    let mut view = View::open(&config.database.path).await?;
    let readers = view.readers(config.database.readers).await?;
    let reader = Reader::new(readers, view.letters(1).await?);
    database::spawn_checkpoints(host, "query", view.path()).await?;

    let watermarks = Watermarks::new(&Source::ALL);
    let position = view.position().await.map_err(|error| StartError::Other(error.into()))?;
    watermarks.set_all(position);
    let folded = view.newest_revision().await.map_err(|error| StartError::Other(error.into()))?;
    let pages = Arc::new(Pages::new());
    let (writer, folder) = Writer::new(view, folded, watermarks.clone(), pages.clone());
    host.spawn_thread("query view", writer.run());
    for source in Source::ALL {
        chassis::consumer::spawn(host, "query", source, folder.clone(), Leadership::always());
    }

    let service =
        grpc::Service { reader: reader.clone(), watermarks, sealer: Sealer::new(&keys), pages };
    host.add_service(grpc::Server::new(service, host.max_request_bytes(), MAX_RESPONSE_BYTES));
    let views = ViewServiceServer::new(grpc::Views { reader })
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
    mount(&mut host, &config).await?;
    host.serve().await
}
