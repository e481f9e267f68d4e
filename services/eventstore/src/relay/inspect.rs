//! What operators see of a stream and its journal, and what they can order.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bus_schema::Sequence;
use sqlx::Pool;
use tokio::sync::Notify;

use super::{
    compare::{CompareError, Finding, compare},
    restore::Remakes,
    stream::{Extent, Remote},
    verify::{Verified, verify},
};
use crate::{database::Backend, leader::Leadership};
use chassis::Error;

/// A stream and its journal.
pub(crate) struct Keeper<B: Backend> {
    pub(super) remote: Remote,
    pub(super) readers: Pool<B>,
    pub(super) remakes: Arc<dyn Remakes>,
    leadership: Leadership,
    orders: Orders,
}

/// What was ordered of a relay; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<Ordered>);

#[derive(Default)]
struct Ordered {
    refill: AtomicBool,
    changed: Notify,
}

impl Orders {
    /// Has the stream be made anew, if the journal is proven to hold it.
    fn refill(&self) {
        self.0.refill.store(true, Ordering::Release);
        self.0.changed.notify_one();
    }

    /// Waits until something is ordered.
    pub(super) async fn given(&self) {
        self.0.changed.notified().await;
    }

    /// Whether the stream is to be made anew; says so once.
    pub(super) fn take_refill(&self) -> bool {
        self.0.refill.swap(false, Ordering::AcqRel)
    }
}

/// What comparing the ends has found.
pub(crate) struct Checked {
    pub(crate) journal: Sequence,
    pub(crate) extent: Option<Extent>,
    /// The installation that the stream names.
    pub(crate) installation: Option<String>,
    /// In words.
    pub(crate) found: String,
    pub(crate) leads: bool,
}

/// What comparing everything has found.
pub(crate) struct Proof {
    /// How many messages were compared.
    pub(crate) compared: u64,
    /// How many of them are missing or damaged.
    pub(crate) damaged: u64,
    /// Whether the journal holds all that the stream can still show.
    pub(crate) is_held: bool,
    /// In words.
    pub(crate) found: String,
}

impl Proof {
    /// Whether the stream lacks nothing up to its end.
    pub(crate) const fn is_equal(&self) -> bool {
        self.is_held && self.damaged == 0
    }
}

impl<B: Backend> Keeper<B> {
    pub(crate) fn new(
        remote: Remote,
        readers: Pool<B>,
        remakes: Arc<dyn Remakes>,
        leadership: Leadership,
        orders: Orders,
    ) -> Self {
        Self { remote, readers, remakes, leadership, orders }
    }

    pub(crate) async fn check(&self) -> Result<Checked, Error> {
        let stream = self.remote.anybodys().await.map_err(CompareError::Stream)?;
        let (extent, installation) = stream.unzip();
        let compared = compare::<B>(&self.remote, &self.readers).await;
        let journal = B::head(&mut *self.readers.acquire().await?).await?.sequence;
        let finding = match compared {
            Err(CompareError::Foreign(foreign)) => Finding::Foreign(foreign.to_string()),
            compared => compared?,
        };
        let found = match finding {
            Finding::Absent => "there is no stream".to_owned(),
            Finding::Shorter(end) if end.sequence == journal => "equal at both ends".to_owned(),
            Finding::Shorter(end) => {
                format!("equal up to {}, the rest is published next", end.sequence)
            }
            Finding::Longer { stream, .. } => {
                format!("the stream is ahead, at {stream}: its tail is imported next")
            }
            Finding::Foreign(what) | Finding::Differs(what) | Finding::Damaged { what, .. } => what,
        };
        let installation = installation.flatten();
        Ok(Checked { journal, extent, installation, found, leads: self.leadership.is_held() })
    }

    pub(crate) async fn prove(
        &self,
        progress: &(dyn Fn(u64, u64, u64) + Send + Sync),
    ) -> Result<Proof, Error> {
        let Some(extent) = self.remote.extent().await.map_err(CompareError::from)? else {
            let found = "there is no stream: the relay creates it".to_owned();
            return Ok(Proof { compared: 0, damaged: 0, is_held: true, found });
        };
        let verified = verify::<B>(&self.remote, &self.readers, extent, progress).await?;
        let (damaged, is_held, found) = match verified {
            Verified::Held { damaged: 0 } => (0, true, "equal".to_owned()),
            Verified::Held { damaged } => (
                damaged,
                true,
                format!("{damaged} messages are missing or damaged, and the journal holds them"),
            ),
            Verified::Differs(at) => {
                (0, false, format!("the stream holds another event at {at} than the journal"))
            }
            Verified::Broken(at) => {
                (0, false, format!("the journal has a broken hash chain at {at}"))
            }
            Verified::TooShort(end) => {
                (0, false, format!("the journal ends with {end}, before the stream"))
            }
        };
        Ok(Proof { compared: extent.last.0, damaged, is_held, found })
    }

    pub(crate) fn order_refill(&self) {
        self.orders.refill();
    }
}

impl From<CompareError> for Error {
    fn from(error: CompareError) -> Self {
        match error {
            CompareError::Journal(error) => error.into(),
            CompareError::Foreign(foreign) => Self::Foreign(foreign),
            CompareError::Stream(_) => Self::BusUnavailable(Box::new(error)),
        }
    }
}
