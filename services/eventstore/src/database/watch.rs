//! Whether a service's database answers, for metrics.

use std::{convert::Infallible, time::Duration};

use metrics::Unit;
use sqlx::{Connection as _, Database, Pool};
use tokio::time::{MissedTickBehavior, interval, timeout};

use chassis::Host;

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Asks a service's database as long as the host runs.
pub fn watch<D: Database>(host: &mut Host, service: &'static str, readers: Pool<D>) {
    metrics::describe_gauge!(
        "agora_database_up",
        Unit::Count,
        "1 while a service's database answers this replica within 3 seconds"
    );
    let gauge = metrics::gauge!("agora_database_up", "service" => service);
    let shutdown = host.shutdown();
    host.spawn(&format!("{service} database watch"), async move {
        let mut every = interval(ASK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            let asked = timeout(ANSWER, async { readers.acquire().await?.ping().await }).await;
            gauge.set(f64::from(u8::from(matches!(asked, Ok(Ok(()))))));
        }
        Ok::<(), Infallible>(())
    });
}
