//! What is answered while the view is missing or too far behind: from the databases of the
//! services that own posts and comments, read only, and only what everybody may see.
//!
//! Once a second it is looked how far the owners are. When the view lacks for too long what
//! an owner had, reads go to the owners, until it has caught up. Owners that do not answer
//! are left alone for a while, and the view is read as far as it is.

mod owners;
mod rows;
mod state;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bus_schema::{Source, Time};
use chassis::{Host, host::Health};
use eventstore::{Position, Watermarks};
use metrics::Unit;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{Error, config, store::Page};

pub(crate) use owners::Owners;
use state::State;

/// How often it is looked how far the owners are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an owner may take to say so.
const ANSWER: Duration = Duration::from_secs(1);
/// How often a read that needs a position looks whether the owners have reached it.
const POLL: Duration = Duration::from_millis(50);

/// Decides who answers; cheap to clone.
#[derive(Clone)]
pub(crate) struct Fallback {
    owners: Arc<Owners>,
    state: Arc<Mutex<State>>,
}

/// Which part of an answer came from where.
pub(crate) struct FromOwners<T> {
    pub(crate) answer: T,
    /// What it includes.
    pub(crate) position: Position,
    /// When it was read.
    pub(crate) as_of: Time,
}

impl Fallback {
    /// Starts to look, if it is configured whom to ask; looks once before it returns, so that
    /// an empty view is not taken for an empty world.
    pub(crate) async fn start(
        host: &mut Host,
        settings: &config::Fallback,
        watermarks: &Watermarks,
    ) -> Result<Option<Self>, config::FallbackError> {
        metrics::describe_gauge!(
            "agora_fallback",
            Unit::Count,
            "1 while the owners answer reads instead of the view"
        );
        tell(false);
        let Some(owners) = Owners::open(settings)? else { return Ok(None) };
        let after = Duration::from_millis(settings.after_ms);
        let state = Arc::new(Mutex::new(State::new(after)));
        let fallback = Self { owners: Arc::new(owners), state };
        let health = host.health("fallback");
        fallback.look(watermarks, &health).await;
        host.spawn("fallback", fallback.clone().run(watermarks.clone(), health, host.shutdown()));
        Ok(Some(fallback))
    }

    async fn run(
        self,
        watermarks: Watermarks,
        health: Health,
        shutdown: CancellationToken,
    ) -> Result<(), Infallible> {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            self.look(&watermarks, &health).await;
        }
        Ok(())
    }

    /// Looks how far the owners and the view are.
    async fn look(&self, watermarks: &Watermarks, health: &Health) {
        let now = Instant::now();
        if self.state().rests(now) {
            // A read may have found that they do not answer.
            tell(false);
            return;
        }
        let heads = match timeout(ANSWER, self.owners.heads()).await {
            Ok(Ok(heads)) => Some(heads),
            Ok(Err(error)) => {
                tracing::debug!(error = %chassis::error::chain(&error), "an owner does not answer");
                None
            }
            Err(_) => None,
        };
        let reached = watermarks.reached();
        let (changed, is_on, said) = {
            let mut state = self.state();
            let before = state.is_on();
            state.looked(now, heads.map(|heads| (heads, Time::now())), reached);
            (before != state.is_on(), state.is_on(), state.said())
        };
        tell(is_on);
        if changed {
            tracing::warn!(fallback = is_on, "read fallback switched");
        }
        // Whoever is answered from the owners is answered.
        health.set_ready(true, said);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    /// Whether the owners answer instead of the view.
    pub(crate) fn is_on(&self) -> bool {
        self.state().is_on()
    }

    /// A moment whose state the view is known to include.
    pub(crate) fn view_as_of(&self, reached: Position) -> Option<Time> {
        self.state().included(reached)
    }

    /// A page of a thread.
    pub(crate) async fn thread(
        &self,
        wanted: &crate::store::Wanted,
        position: &Position,
        deadline: Instant,
    ) -> Result<FromOwners<Page>, Error> {
        let position = self.reach(position, deadline).await?;
        let as_of = Time::now();
        let page = self.told(self.owners.thread(wanted).await)?;
        let answer = page.map_err(Error::from)?;
        Ok(FromOwners { answer, position, as_of })
    }

    /// A site's posts.
    pub(crate) async fn feed(
        &self,
        site: &str,
        order: crate::feed::Order,
        after: Option<crate::feed::Cursor>,
        limit: usize,
        (position, deadline): (&Position, Instant),
    ) -> Result<FromOwners<Vec<crate::domain::Post>>, Error> {
        let position = self.reach(position, deadline).await?;
        let as_of = Time::now();
        let answer = self.told(self.owners.feed(site, order, after, limit).await)?;
        Ok(FromOwners { answer, position, as_of })
    }

    /// Waits until the owners have reached a position, as long as for the view's.
    async fn reach(&self, wanted: &Position, deadline: Instant) -> Result<Position, Error> {
        let deadline = deadline.min(Instant::now() + Watermarks::MAX_WAIT);
        loop {
            let reached = self.told(self.owners.heads().await)?;
            if reached.includes(wanted, &Source::ALL) {
                return Ok(reached);
            }
            if timeout_at(deadline, sleep(POLL)).await.is_err() {
                return Err(chassis::Error::PositionNotReached {
                    wanted: wanted.to_string(),
                    reached: reached.to_string(),
                }
                .into());
            }
        }
    }

    /// Notes whether an owner has answered.
    fn told<T>(&self, answer: Result<T, sqlx::Error>) -> Result<T, Error> {
        if answer.is_err() {
            self.state().failed(Instant::now());
        }
        Ok(answer?)
    }
}

/// Has the metrics say who answers.
fn tell(is_on: bool) {
    metrics::gauge!("agora_fallback").set(f64::from(u8::from(is_on)));
}
