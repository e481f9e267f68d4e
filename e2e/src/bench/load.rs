//! Closed and open loops of calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};

use crate::Result;

/// How often something was done in how long.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Calls that were answered.
    pub calls: u64,
    /// From the first to the last of them.
    pub took: Duration,
}

impl Rate {
    /// Calls a second.
    pub fn per_second(self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64()
    }
}

/// Keeps `in_flight` calls running for a time; `call` makes one call with the given
/// worker's number and the call's number.
///
/// # Errors
/// The first error of a call.
pub async fn closed_loop<F, C>(in_flight: usize, time: Duration, call: C) -> Result<Rate>
where
    C: Fn(usize, u64) -> F + Send + Sync + 'static,
    F: Future<Output = Result> + Send,
{
    let call = Arc::new(call);
    let number = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut workers: JoinSet<Result<u64>> = JoinSet::new();
    for worker in 0..in_flight {
        let (call, number) = (call.clone(), number.clone());
        workers.spawn(async move {
            let mut done = 0;
            while started.elapsed() < time {
                call(worker, number.fetch_add(1, Ordering::Relaxed)).await?;
                done += 1;
            }
            Ok(done)
        });
    }
    let mut calls = 0;
    while let Some(done) = workers.join_next().await {
        calls += done??;
    }
    Ok(Rate { calls, took: started.elapsed() })
}

/// Makes `calls` calls, `in_flight` at the same time.
///
/// # Errors
/// The first error of a call.
pub async fn count_loop<F, C>(in_flight: usize, calls: u64, call: C) -> Result<Rate>
where
    C: Fn(usize, u64) -> F + Send + Sync + 'static,
    F: Future<Output = Result> + Send,
{
    let call = Arc::new(call);
    let number = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut workers: JoinSet<Result> = JoinSet::new();
    for worker in 0..in_flight {
        let (call, number) = (call.clone(), number.clone());
        workers.spawn(async move {
            loop {
                let next = number.fetch_add(1, Ordering::Relaxed);
                if next >= calls {
                    return Ok(());
                }
                call(worker, next).await?;
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok(Rate { calls, took: started.elapsed() })
}

/// What became of calls at a steady rate.
#[derive(Debug, Default)]
pub struct Steady {
    /// How long each answer took.
    pub took: Vec<Duration>,
    /// How many calls failed.
    pub failed: u64,
}

/// Makes so many calls a second, whether earlier ones were answered or not; `call` gets
/// the call's number twice, as [`closed_loop`] gives a worker's and the call's.
pub async fn open_loop<F, C>(per_second: u64, calls: u64, call: C) -> Steady
where
    C: Fn(usize, u64) -> F,
    F: Future<Output = Result> + Send + 'static,
{
    let mut every = interval(Duration::from_secs(1) / per_second as u32);
    let mut running = JoinSet::new();
    for number in 0..calls {
        every.tick().await;
        let called = call(number as usize, number);
        let started = Instant::now();
        running.spawn(async move { (called.await, started.elapsed()) });
    }
    let mut steady = Steady::default();
    while let Some(answered) = running.join_next().await {
        match answered {
            Ok((Ok(()), took)) => steady.took.push(took),
            Ok((Err(_), _)) | Err(_) => steady.failed += 1,
        }
    }
    steady
}

/// The value below which `share` (0 to 1) of the sorted values lie.
pub fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The median of an odd number of values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
