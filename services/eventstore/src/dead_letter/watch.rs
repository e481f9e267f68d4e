//! How many events are parked, for metrics and health: a service with dead letters goes on
//! serving, and says so.

use std::{convert::Infallible, time::Duration};

use bus_schema::Source;
use metrics::Unit;
use sqlx::Pool;
use tokio::time::interval;

use super::{Letters, MAX_PARKED};
use crate::database::SqlResult;
use chassis::{Host, host::Health};

/// How often they are counted.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Counts a service's dead letters as long as the host runs.
pub fn watch<L: Letters>(
    host: &mut Host,
    service: &'static str,
    sources: &'static [Source],
    readers: Pool<L>,
) {
    metrics::describe_gauge!(
        "agora_dead_letters",
        Unit::Count,
        "How many events of a source a service has parked"
    );
    let name = format!("{service} dead letters");
    let health = host.health(&name);
    health.set_ready(true, "not counted yet");
    let shutdown = host.shutdown();
    host.spawn(&name, async move {
        let mut every = interval(LOOK_EVERY);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            if let Err(error) = look(service, sources, &readers, &health).await {
                tracing::debug!(service, %error, "cannot count dead letters");
            }
        }
        Ok::<(), Infallible>(())
    });
}

async fn look<L: Letters>(
    service: &'static str,
    sources: &[Source],
    readers: &Pool<L>,
    health: &Health,
) -> SqlResult<()> {
    let mut connection = readers.acquire().await?;
    let mut said = Vec::new();
    for source in sources {
        let count = L::count_letters(&mut connection, *source).await?;
        let gauge = metrics::gauge!(
            "agora_dead_letters", "service" => service, "source" => source.as_str()
        );
        // At most 10,000: exact as a float.
        gauge.set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        if count > 0 {
            said.push(format!("{count} of {MAX_PARKED} events of {source} are parked"));
        }
    }
    let said = if said.is_empty() { "none".to_owned() } else { said.join(", ") };
    health.set_ready(true, &said);
    Ok(())
}
