//! Dead letters: events that a consumer could not apply, kept with their error for an
//! operator. Nothing is dropped silently: what is delivered is applied or parked.
//!
//! Later events of the same aggregate wait behind a parked one, so the first of each
//! aggregate alone has an error, and alone can be tried again or given up.

mod service;
mod sql;
mod watch;

use bus_schema::{Sequence, Source, Time};
use bytes::Bytes;
use futures::future::BoxFuture;
use tonic::Code;
use uuid::Uuid;

use crate::delivery::Delivery;
use chassis::{Error, Explain, error::Fault};

pub use service::Letterbox;
pub(crate) use service::Letterboxes;
pub use sql::Letters;
pub use watch::watch;

/// Letters that another version has parked are tried again.
pub use chassis::version::PROGRAM;

/// How many events of a source a service parks at most; then its consumer stops.
pub const MAX_PARKED: u64 = 10_000;

/// A parked event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose event it is.
    pub source: Source,
    /// Its number.
    pub sequence: Sequence,
    /// What it happened to; later events of the same wait behind it.
    pub aggregate: Option<Uuid>,
    /// The event, encoded.
    pub event: Bytes,
    /// Why it could not be applied; empty if it only waits behind another one.
    pub error: String,
    /// When it was parked.
    pub parked_at: Time,
    /// The version of the program that could not apply it.
    pub program: String,
}

impl DeadLetter {
    /// An event that this program parks now.
    pub fn new(source: Source, delivery: &Delivery, error: String) -> Self {
        Self {
            source,
            sequence: delivery.sequence,
            aggregate: delivery.aggregate(),
            event: delivery.bytes.clone(),
            error,
            parked_at: Time::now(),
            program: PROGRAM.to_owned(),
        }
    }

    /// Logs it, once it is parked.
    pub fn tell(&self) {
        tracing::error!(
            source = %self.source,
            sequence = self.sequence.0,
            error = self.error,
            "event parked as dead letter"
        );
    }
}

/// What was done about a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// When.
    pub time: Time,
    /// Who did it: a principal's id, or this program.
    pub actor: String,
    /// What was done.
    pub done: Done,
    /// Whose event it is.
    pub source: Source,
    /// Its number.
    pub sequence: Sequence,
    /// Why, as whoever did it says.
    pub reason: String,
    /// Why it still could not be applied.
    pub error: String,
    /// The event, encoded.
    pub event: Bytes,
}

impl Action {
    /// What is done now about a letter.
    pub fn now(letter: &DeadLetter, actor: &str, done: Done) -> Self {
        Self {
            time: Time::now(),
            actor: actor.to_owned(),
            done,
            source: letter.source,
            sequence: letter.sequence,
            reason: String::new(),
            error: String::new(),
            event: letter.event.clone(),
        }
    }

    /// Logs it, once it is done.
    pub fn tell(&self) {
        tracing::info!(
            target: "agora::audit",
            actor = self.actor,
            action = self.done.as_str(),
            source = %self.source,
            sequence = self.sequence.0,
            reason = self.reason,
            error = self.error,
            "dead letter"
        );
    }
}

/// What can be done about a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was tried again.
    Retried,
    /// It was given up.
    Dropped,
}

impl Done {
    /// As the log holds it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Dropped => "dropped",
        }
    }
}

/// What is to be done about dead letters.
#[derive(Clone, Debug)]
pub enum Repair {
    /// Try one again, and then what waits behind it.
    Retry {
        /// Whose event it is.
        source: Source,
        /// Its number.
        sequence: Sequence,
        /// Who asks.
        actor: String,
    },
    /// Give one up, and then try what waits behind it.
    Drop {
        /// Whose event it is.
        source: Source,
        /// Its number.
        sequence: Sequence,
        /// Who asks.
        actor: String,
        /// Why.
        reason: String,
    },
    /// Try again what programs of other versions have parked of a source.
    Outdated(Source),
}

/// What a repair has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// How many events were applied.
    pub applied: u32,
    /// The one that could not be.
    pub stopped_at: Option<DeadLetter>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// As for every other request.
    #[error(transparent)]
    Chassis(#[from] Error),
    /// No such service runs here.
    #[error("the service {0} does not run in this process")]
    NotHere(String),
    /// It is not parked.
    #[error("event {sequence} of {owner} is not parked")]
    Absent {
        /// Whose event.
        owner: Source,
        /// Its number.
        sequence: Sequence,
    },
    /// Another one comes first.
    #[error(
        "event {sequence} of {owner} waits behind event {behind}: retry or drop that one first"
    )]
    Waits {
        /// Whose event.
        owner: Source,
        /// Its number.
        sequence: Sequence,
        /// The first of the same aggregate.
        behind: Sequence,
    },
    /// The view is made anew or copied: what is applied now, the other one would lack.
    #[error("cannot retry dead letters while the view is being rebuilt or copied: try again later")]
    Rebuilding,
    /// The service gives none up.
    #[error("the {0} service cannot drop dead letters: its state would diverge permanently")]
    Kept(&'static str),
}

impl Explain for Refused {
    fn fault(&self) -> Fault {
        match self {
            Self::Chassis(error) => error.fault(),
            Self::NotHere(service) => {
                Fault::new(Code::NotFound, "SERVICE_NOT_HERE").with("service", service)
            }
            Self::Absent { .. } => Fault::new(Code::NotFound, "DEAD_LETTER_NOT_FOUND"),
            Self::Waits { behind, .. } => {
                Fault::new(Code::FailedPrecondition, "DEAD_LETTER_WAITS").with("behind", behind)
            }
            Self::Rebuilding => Fault::new(Code::FailedPrecondition, "REBUILD_RUNNING"),
            Self::Kept(_) => Fault::new(Code::FailedPrecondition, "DEAD_LETTER_KEPT"),
        }
    }
}

/// Who repairs: the writer of a service's database.
pub trait Repairs: Send + Sync {
    /// Does it, in transactions of its own.
    fn repair(&self, repair: Repair) -> BoxFuture<'_, Result<Repaired, Refused>>;
}

/// A letter by its number, if it is the first of its aggregate.
///
/// # Errors
/// [`Refused::Absent`], [`Refused::Waits`], or what the database says.
pub async fn first<L: Letters>(
    connection: &mut L::Connection,
    source: Source,
    sequence: Sequence,
) -> Result<Result<DeadLetter, Refused>, sqlx::Error> {
    let Some(letter) = L::letter(connection, source, sequence).await? else {
        return Ok(Err(Refused::Absent { owner: source, sequence }));
    };
    let first = L::first_letter(connection, source, letter.aggregate).await?;
    let behind = first.map(|first| first.sequence).filter(|first| *first < sequence);
    Ok(match behind {
        Some(behind) => Err(Refused::Waits { owner: source, sequence, behind }),
        None => Ok(letter),
    })
}
