//! What a service that owns events gives to the event store: its rules ([`Domain`]) and
//! its SQL ([`Store`]). From these [`start`](crate::start) makes the whole way of a write.

use std::{
    error::Error as StdError,
    future::{Future, ready},
};

use bus_schema::{Event, Kind, KindName, PostId, Site, Source, Time};
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::replicas::Replicas;
use chassis::{Error, Explain, call::Origin};

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
    /// last of which it answers with and is of the type that [`Self::makes`] says.
    ///
    /// # Errors
    /// The rule that the command breaks.
    fn decide(
        state: &Self::State,
        origin: &Origin,
        command: &Self::Command,
        now: Time,
    ) -> Result<Vec<Draft>, Self::Error>;

    /// The type of the event that answers a command. With site, actor and request id it
    /// tells a retry, which must therefore ask for the same type.
    fn makes(command: &Self::Command) -> KindName;

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
        KindName::of(&event.kind).as_str()
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
    type Backend: Replicas;

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
    ///
    /// Without it a service consumes nothing, and such events are refused.
    fn consume(
        &self,
        _connection: &mut Connection<Self>,
        source: Source,
        events: &[Event],
    ) -> impl Future<Output = Result<Consumed<State<Self>>, ConsumeError>> + Send {
        let (count, service) = (events.len(), Self::Domain::SOURCE);
        let refusal = format!("{count} events of {source} for the {service} service");
        ready(Err(ConsumeError::Event(refusal.into())))
    }

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
