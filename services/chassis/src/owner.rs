//! What a service that owns events gives to the chassis: its rules ([`Domain`]) and
//! its SQL ([`Store`]). From these [`start`] makes the whole way of a write:
//! committer, journal, relay and consumers.

use std::{convert::Infallible, error::Error as StdError, future::Future, sync::Arc};

use bus_schema::{Event, Kind, PostId, Site, Source, Stream, Time};
use sqlx::{Pool, migrate::Migrator};
use uuid::Uuid;

use crate::{
    Error, Explain, Host, StartError, Watermarks,
    admin::Journal,
    call::Origin,
    committer::{Committer, Writer},
    config, consumer,
    database::{self, OpenError},
    dead_letter::{self, Letterbox},
    journal::Backend,
    relay::{self, Healing, Keeper, Orders, Relay, Remote},
};

/// The rules of a service, without I/O.
pub trait Domain: Send + Sync + 'static {
    /// Whose events they make.
    const SOURCE: Source;
    /// Whose events the service consumes.
    const CONSUMES: &'static [Source];
    /// What can be asked for, parsed: every field is valid by its type.
    type Command: Send + Sync + 'static;
    /// The aggregates that a batch of commands or events touches.
    type State: Send + Sync + 'static;
    /// The resource that a command answers with.
    type Reply: Send + 'static;
    /// Why a command is refused.
    type Error: Explain + From<Error> + Send + Sync + 'static;

    /// Decides a command on the state: the events that it makes, at least one, the
    /// last of which it answers with.
    ///
    /// # Errors
    /// The rule that the command breaks.
    fn decide(
        state: &Self::State,
        origin: &Origin,
        command: &Self::Command,
        now: Time,
    ) -> Result<Vec<Draft>, Self::Error>;

    /// Folds one of the service's own events into the state.
    ///
    /// # Errors
    /// If the event cannot be read: its content is sealed, or a newer program wrote
    /// it.
    fn apply(state: &mut Self::State, event: &Event) -> Result<(), ApplyError>;

    /// The answer to the request that made an event, from the event and from what
    /// never changes of its aggregate: a retry gets the same answer however far the
    /// state has gone on.
    ///
    /// # Errors
    /// As [`Self::apply`].
    fn reply(state: &Self::State, event: &Event) -> Result<Self::Reply, ApplyError>;

    /// As what an event of the service's own is counted: one of a few names.
    fn counted_as(event: &Event) -> &'static str {
        bus_schema::kind_name(&event.kind)
    }
}

/// An event that cannot be folded, and why.
pub type ApplyError = Box<dyn StdError + Send + Sync>;

/// An event before the committer gives it id, sequence and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The site that it belongs to.
    pub site: Site,
    /// The post that it belongs to.
    pub post_id: Option<PostId>,
    /// The post or comment that it happens to.
    pub aggregate: Option<Uuid>,
    /// Who causes it.
    pub actor: String,
    /// What happens.
    pub kind: Kind,
}

impl From<Event> for Draft {
    fn from(event: Event) -> Self {
        let Event { site, post_id, aggregate, actor, kind, .. } = event;
        Self { site, post_id, aggregate, actor, kind }
    }
}

/// The SQL of a service on one kind of database. All of it runs in transactions that
/// the committer begins and ends.
pub trait Store: Send + Sync + 'static {
    /// The rules whose state it keeps.
    type Domain: Domain;
    /// The kind of database.
    type Backend: Backend;

    /// The migrations of the service's own tables.
    fn migrations() -> &'static Migrator;

    /// Loads the aggregates that commands touch, in one query a table.
    fn load(
        &self,
        connection: &mut Connection<Self>,
        commands: &[&Command<Self>],
    ) -> impl Future<Output = Result<State<Self>, sqlx::Error>> + Send;

    /// Loads the aggregates that the service's own events touch: to import a stream's
    /// tail, and to answer a retry.
    fn load_for(
        &self,
        connection: &mut Connection<Self>,
        events: &[Event],
    ) -> impl Future<Output = Result<State<Self>, sqlx::Error>> + Send;

    /// Writes the state that these events of the service's own left.
    fn write(
        &self,
        connection: &mut Connection<Self>,
        state: &State<Self>,
        events: &[Event],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Applies another source's events, in their order, and returns what they cause.
    /// What is said to be new in its state, [`Self::write`] writes.
    fn consume(
        &self,
        connection: &mut Connection<Self>,
        source: Source,
        events: &[Event],
    ) -> impl Future<Output = Result<Consumed<State<Self>>, ConsumeError>> + Send;

    /// What forgets the state that the events of a source have left, of the service's own or
    /// of another one.
    fn forgetting(source: Source) -> Forgetting;
}

/// What forgets the state that a source's events have left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forgetting {
    /// Statements, in their order.
    pub deletes: &'static [&'static str],
    /// The other sources whose events have to be applied again then, as what they left was
    /// mixed with it.
    pub again: &'static [Source],
}

/// What consumed events leave to be journalled and written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consumed<T> {
    /// The events that they cause, in the order in which they are to be journalled.
    pub caused: Vec<Caused>,
    /// The aggregates that these happen to, as they were before.
    pub state: T,
}

/// An event that another source's event causes.
#[derive(Clone, Debug, PartialEq)]
pub struct Caused {
    /// The event to journal.
    pub draft: Draft,
    /// W3C trace context of the event that causes it.
    pub traceparent: String,
}

/// Why events of another source cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The database failed: the same may succeed later.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// An event cannot be applied by this program, however often it is tried.
    #[error("an event cannot be applied")]
    Event(#[source] ApplyError),
}

/// The connection type of a store.
pub type Connection<S> = <<S as Store>::Backend as sqlx::Database>::Connection;
/// The command type of a store's domain.
pub type Command<S> = <<S as Store>::Domain as Domain>::Command;
/// The state type of a store's domain.
pub type State<S> = <<S as Store>::Domain as Domain>::State;

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
    let leadership = S::Backend::attend(host, source, S::Domain::CONSUMES, &database, &watermarks);
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
    let (remote, orders) = (Remote::new(host.jetstream(), stream), Orders::default());
    let keeper = Keeper::new(
        remote.clone(),
        readers.clone(),
        Arc::new(committer.clone()),
        leadership.clone(),
        orders.clone(),
    );
    host.add_stream(source, Arc::new(keeper));
    let health = host.health(&format!("{source} relay"));
    let relay = Relay::new(
        committer.clone(),
        readers.clone(),
        leadership.clone(),
        remote.clone(),
        Healing {
            refills: settings.nats.refill_streams,
            suspicions: host.suspicions(),
            orders: orders.clone(),
        },
        host.shutdown(),
        health,
    );
    host.spawn(&format!("{source} relay"), relay.run());
    relay::watch(host, remote, readers.clone(), watermarks.clone(), committer.gate());
    for consumed in S::Domain::CONSUMES {
        let (committer, leadership) = (committer.clone(), leadership.clone());
        consumer::spawn(host, source.as_str(), *consumed, committer, leadership, &watermarks);
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
    host.add_letterbox(source.as_str(), letters);
    let journal = Journal::new(source, readers.clone(), committer.gate(), watermarks.clone());
    host.add_journal(source, journal);
    Ok(Owned { committer, readers, watermarks })
}
