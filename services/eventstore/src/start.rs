//! The way of a write, put together: committer, journal, relay and consumers.

use std::{convert::Infallible, sync::Arc};

use bus_schema::{Source, Stream};
use sqlx::Pool;

use crate::{
    Watermarks,
    admin::Journal,
    committer::{Committer, Writer},
    consumer,
    database::{self, Backend as _, OpenError},
    dead_letter::{self, Letterbox},
    domain::{Domain, Store},
    registry::Registry,
    relay::{self, Healing, Keeper, Orders, Relay, Remote},
    replicas::Replicas as _,
};
use chassis::{Host, StartError, config};

/// What [`start`] needs to know.
pub struct Settings<'a> {
    /// Where the database is.
    pub database: &'a config::Database,
    /// Where the stream is.
    pub nats: &'a config::Nats,
}

/// The running way of a write.
pub struct Owned<S: Store> {
    /// Carries out commands.
    pub committer: Committer<S>,
    /// Connections that only read.
    pub readers: Pool<S::Backend>,
    /// How far the service is.
    pub watermarks: Watermarks,
}

/// Opens a service's database and starts its committer, its relay and its consumers in
/// a host. Commands are carried out once the journal was compared with its stream.
///
/// # Errors
/// If the database cannot be opened.
pub async fn start<S: Store>(
    host: &mut Host,
    registry: &mut Registry,
    store: S,
    settings: Settings<'_>,
) -> Result<Owned<S>, StartError> {
    let source = S::Domain::SOURCE;
    let database = S::Backend::open(settings.database, S::migrations()).await?;
    if let Some(file) = &database.file {
        let checkpoints = database::checkpoints(&file.path).await?;
        let shutdown = host.shutdown();
        host.spawn(&format!("{source} WAL checkpoints"), async move {
            shutdown.run_until_cancelled(checkpoints).await.transpose().map(|_| ())
        });
    }

    let known: Vec<Source> =
        std::iter::once(source).chain(S::Domain::CONSUMES.iter().copied()).collect();
    let watermarks = Watermarks::new(&known);
    let leadership = S::Backend::join(host, source, S::Domain::CONSUMES, &database, &watermarks);
    let (readers, name) = (database.readers.clone(), database.name.clone());
    let file = database.file.as_ref().map(|file| file.path.clone());
    tracing::info!(%source, database = name, "database open");
    let opened = Writer::open(store, database, watermarks.clone()).await;
    let (writer, committer) = opened.map_err(|source| OpenError::sql(name, source))?;
    host.sample(committer.measure());
    host.spawn_thread(&format!("{source} committer"), async move {
        writer.run().await;
        Ok::<(), Infallible>(())
    });

    let stream = Stream::of(source, settings.nats.replicas, settings.nats.max_bytes);
    let (remote, orders) = (Remote::new(host.bus(), stream), Orders::default());
    let keeper = Keeper::new(
        remote.clone(),
        readers.clone(),
        Arc::new(committer.clone()),
        leadership.clone(),
        orders.clone(),
    );
    registry.add_stream(source, Arc::new(keeper));
    let health = host.health(&format!("{source} relay"));
    let relay = Relay::new(
        committer.clone(),
        readers.clone(),
        leadership.clone(),
        remote.clone(),
        Healing {
            refills: settings.nats.refill_streams,
            suspicions: registry.suspicions(),
            orders: orders.clone(),
        },
        host.shutdown(),
        health,
    );
    host.spawn(&format!("{source} relay"), relay.run());
    relay::watch(host, remote, readers.clone(), watermarks.clone(), committer.gate());
    for consumed in S::Domain::CONSUMES {
        let (committer, leadership) = (committer.clone(), leadership.clone());
        consumer::spawn(
            host,
            &registry.owners(),
            source.as_str(),
            *consumed,
            committer,
            leadership,
            &watermarks,
        );
    }
    database::watch(host, source.as_str(), readers.clone());
    let pool = readers.clone();
    database::measure_pool(host, source.as_str(), move || pool.clone());
    if let Some(path) = file {
        database::measure_file(host, source.as_str(), move || Some(path.clone()));
    }
    // Its own, too: a fork takes them out of the journal.
    dead_letter::watch(host, source.as_str(), &Source::ALL, readers.clone());
    let letters = Letterbox::new(&Source::ALL, readers.clone(), committer.clone());
    registry.add_letterbox(source.as_str(), letters);
    let journal = Journal::new(source, readers.clone(), committer.gate(), watermarks.clone());
    registry.add_journal(source, journal);
    Ok(Owned { committer, readers, watermarks })
}
