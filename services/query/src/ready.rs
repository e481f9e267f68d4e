//! When reads may come: once the view has what the streams held when the service started.
//!
//! A view that was complete once is not held back for ever by streams that cannot be read:
//! where nothing comes, it is served as it is. From then on the service stays ready.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus_schema::Source;
use chassis::{Bus, Host, error::chain, host::Health};
use eventstore::{
    Position, Watermarks,
    consumer::{ReadError, ends},
};
use tokio::time::{Instant, interval, sleep};

use crate::{consumer::Folder, fallback::Fallback};

/// How often it is looked whether the view has caught up.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the streams are asked where they end, until it has.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// After this time without an event a view that was complete once is served as it is.
const STALLED: Duration = Duration::from_secs(5);

/// Whether the view has once caught up with the streams; cheap to clone.
#[derive(Clone)]
pub(crate) struct Complete(Arc<AtomicBool>);

impl Complete {
    pub(crate) fn new(is_complete: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_complete)))
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What says when the service is ready.
struct Readiness {
    bus: Bus,
    watermarks: Watermarks,
    folder: Folder,
    fallback: Option<Fallback>,
    complete: Complete,
    health: Health,
}

/// Has a host be ready once its view has caught up.
pub(crate) fn watch(
    host: &mut Host,
    watermarks: &Watermarks,
    folder: &Folder,
    fallback: Option<&Fallback>,
    complete: &Complete,
) {
    let readiness = Readiness {
        bus: host.bus(),
        watermarks: watermarks.clone(),
        folder: folder.clone(),
        fallback: fallback.cloned(),
        complete: complete.clone(),
        health: host.health("query view"),
    };
    let shutdown = host.shutdown();
    host.spawn("query readiness", async move {
        shutdown.run_until_cancelled(readiness.run()).await;
        Ok::<(), Infallible>(())
    });
}

impl Readiness {
    async fn run(self) {
        self.health.set_ready(false, "catching up with the streams");
        let (mut wanted, mut looks) = (None, interval(LOOK_EVERY));
        let mut asking = pin!(self.ask(Duration::ZERO));
        let (mut before, mut moved) = (self.watermarks.reached(), Instant::now());
        loop {
            tokio::select! {
                found = &mut asking => {
                    // A stream that has lost its end since gives no more than it has.
                    wanted = Some(wanted.map_or(found, |wanted| lower(wanted, found)));
                    asking.set(self.ask(ASK_EVERY));
                }
                _ = looks.tick() => {}
            }
            let reached = self.watermarks.reached();
            if wanted.is_some_and(|wanted| reached.includes(&wanted, &Source::ALL)) {
                break;
            }
            if reached != before {
                (before, moved) = (reached, Instant::now());
            }
            let serves = self.complete.get() || self.fallback.as_ref().is_some_and(Fallback::is_on);
            if serves && moved.elapsed() >= STALLED {
                self.health.set_ready(true, "no events arrive: serving the view as it is");
            }
        }
        let reached = self.watermarks.reached();
        tracing::info!(position = %reached, "the view has caught up with the streams");
        self.complete.set();
        if let Err(error) = self.folder.complete().await {
            tracing::warn!(error = %chain(&error), "cannot record that the view is complete");
        }
        self.health.set_ready(true, "the view has caught up");
    }

    /// Where the streams end, as soon as they say so.
    async fn ask(&self, after: Duration) -> Position {
        sleep(after).await;
        loop {
            let pause = match ends(&self.bus).await {
                Ok(ends) => return ends,
                // Until an operator decides: nothing of it is waited for.
                Err(ReadError::Foreign(_)) => ASK_EVERY,
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "cannot read the ends of the streams");
                    LOOK_EVERY
                }
            };
            sleep(pause).await;
        }
    }
}

/// What both positions include.
fn lower(one: Position, other: Position) -> Position {
    let least = |source| one.get(source).min(other.get(source));
    Source::ALL.into_iter().fold(Position::ZERO, |all, source| all.with(source, least(source)))
}
