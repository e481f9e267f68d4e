//! What callers notice of an outage of NATS.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    load::{open_loop, quantile},
    processes::Processes,
    report::Row,
};
use crate::{Databases, Result};

/// Writes a second.
const RATE: u64 = 500;

/// Writes at a steady rate while NATS is up, then while it is down for as long, and waits
/// until everything is visible after it is back.
///
/// # Errors
/// If the programs do not start, or do not catch up.
pub async fn nats(texts: Vec<String>, down: Duration) -> Result<[Row; 3]> {
    let texts = Arc::new(texts);
    let mut processes = Processes::start(Databases::Files).await?;
    let calls = (RATE as f64 * down.as_secs_f64()) as u64;
    let mut normal = open_loop(RATE, calls, processes.creator(&texts)).await;
    processes.settle().await?;

    processes.system.nats.kill().await?;
    let mut without = open_loop(RATE, calls, processes.creator(&texts)).await;
    processes.system.nats.restart().await?;
    let back = Instant::now();
    processes.settle().await?;
    let caught_up = back.elapsed();

    let (up, p99) = (quantile(&mut normal.took, 0.99), quantile(&mut without.took, 0.99));
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    Ok([
        Row::at_most(
            "writes that fail while NATS is down",
            format!("{} of {calls}", without.failed),
            format!("{} of {calls}", normal.failed),
            without.failed as f64,
            0.0,
        ),
        Row::at_most(
            "p99 of writes, NATS down vs up",
            millis(p99),
            millis(up),
            p99.as_secs_f64() / up.as_secs_f64(),
            3.0,
        ),
        Row::at_most(
            "seconds until all is visible, NATS back",
            seconds(caught_up),
            format!("down {}", seconds(down)),
            caught_up.as_secs_f64(),
            10.0,
        ),
    ])
}
