//! How long the moderators' queue is, for metrics.

use std::{convert::Infallible, time::Duration};

use chassis::Host;
use metrics::Unit;
use tokio::time::{MissedTickBehavior, interval};

use crate::store::Read;

/// How often it is counted: that reads every case there ever was.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// Counts the cases that wait as long as the host runs.
pub(crate) fn watch<R: Read>(host: &mut Host, reader: R) {
    metrics::describe_gauge!(
        "agora_open_cases",
        Unit::Count,
        "How many comments wait for a moderator"
    );
    metrics::describe_gauge!(
        "agora_oldest_open_case_seconds",
        Unit::Seconds,
        "For how long the comment has waited that waits longest for a moderator"
    );
    let count = metrics::gauge!("agora_open_cases");
    let age = metrics::gauge!("agora_oldest_open_case_seconds");
    let shutdown = host.shutdown();
    host.spawn("moderation queue watch", async move {
        let mut every = interval(COUNT_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            match reader.waiting().await {
                Ok((waiting, oldest)) => {
                    count.set(waiting as f64);
                    age.set(oldest.map_or(0.0, |since| since.elapsed().as_secs_f64()));
                }
                Err(error) => tracing::debug!(%error, "cannot count the cases that wait"),
            }
        }
        Ok::<(), Infallible>(())
    });
}
