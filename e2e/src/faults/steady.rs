//! A steady load on a system that others make fail, and whether everything held.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;
use tokio::time::sleep;

use super::{
    check,
    load::{Load, Manner},
    probe,
    record::{Failure, Late, Method},
    report::seconds,
};
use crate::{Access, Result};

/// How often it says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether all is quiet.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often it is tried to check, where a service does not answer.
const CHECKS: usize = 5;
/// The pause between two tries.
const CHECK_PAUSE: Duration = Duration::from_secs(2);

/// What clients were told, and what of it holds.
#[derive(Debug, Serialize)]
pub struct Steady {
    /// When it began and was told to end, in milliseconds since 1970.
    pub from_ms: u64,
    /// The same.
    pub to_ms: u64,
    /// How many writes were answered OK.
    pub acknowledged: u64,
    /// How many threads were read.
    pub reads: u64,
    /// How many of them the owners' databases have answered.
    pub from_owners: u64,
    /// The longest time from the first call of an operation to its OK, in seconds.
    pub slowest_write: f64,
    /// The same of a thread that was read.
    pub slowest_read: f64,
    /// How many operations nobody knows the outcome of.
    pub given_up: u64,
    /// The calls that were refused or not answered, and made again.
    pub failures: Vec<Failed>,
    /// The operations that took longer than callers wait, made again or not.
    pub late: Vec<Lated>,
    /// How many acknowledged writes are missing.
    pub lost: u64,
    /// How many requests have more than one effect.
    pub doubled: u64,
    /// How many events the journals hold.
    pub events: u64,
    /// From the end until everything was equal everywhere, in seconds.
    pub settled: Option<f64>,
    /// What does not hold, each beginning with the number of an invariant.
    pub findings: Vec<String>,
}

/// Calls of one kind that failed in the same way within the same second.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// When the first of them was made, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was called.
    pub method: &'static str,
    /// Whether it writes.
    pub writes: bool,
    /// Whether a server has answered; if not, it broke on the way.
    pub answered: bool,
    /// The gRPC code.
    pub code: String,
    /// What was said of the first.
    pub message: String,
    /// How many.
    pub calls: u64,
}

/// An operation that took long.
#[derive(Debug, Serialize)]
pub struct Lated {
    /// When it was begun, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was called.
    pub method: &'static str,
    /// Whether it writes.
    pub writes: bool,
    /// How long it took, in seconds.
    pub took: f64,
}

impl Steady {
    /// Whether nothing was lost and nothing happened twice.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty() && self.lost == 0 && self.doubled == 0 && self.settled.is_some()
    }
}

/// Writes and reads until `ended`, then waits until all is quiet, and checks what clients
/// were told. `checked` is where single replicas are, as they are at the end.
///
/// # Errors
/// If the load cannot begin, or nothing can be checked.
pub async fn steady(
    access: &Access,
    manner: Manner,
    patience: Duration,
    ended: impl Future<Output = ()>,
    checked: impl AsyncFnOnce() -> Result<Access>,
) -> Result<Steady> {
    let from = SystemTime::now();
    let load = Load::start(access, manner, ms(from)).await?;
    let shared = load.shared();
    let tell = async {
        loop {
            sleep(TELL_EVERY).await;
            let told = shared.record.told();
            let (writes, reads) = (told.acknowledged.len(), told.reads);
            let (failures, late) = (told.failures.len(), told.late.len());
            eprintln!("{writes} writes, {reads} reads, {failures} calls failed, {late} were late");
        }
    };
    tokio::select! {
        () = ended => {}
        () = tell => {}
    }
    let to = SystemTime::now();
    eprintln!("ending");
    load.stop().await?;

    let access = checked().await?;
    let began = Instant::now();
    let mut settled = None;
    while settled.is_none() && began.elapsed() < patience {
        match probe::is_quiet(&access).await {
            true => settled = Some(seconds(began.elapsed())),
            false => sleep(LOOK_EVERY).await,
        }
    }
    let mut found = check::check(&access, &shared, &[]).await;
    for _ in 1..CHECKS {
        if found.is_ok() {
            break;
        }
        sleep(CHECK_PAUSE).await;
        found = check::check(&access, &shared, &[]).await;
    }
    let mut found = found?;
    if settled.is_none() {
        found.findings.push(format!("not quiet {} s after the end", patience.as_secs()));
    }
    let told = shared.record.told();
    Ok(Steady {
        from_ms: ms(from),
        to_ms: ms(to),
        acknowledged: told.acknowledged.len() as u64,
        reads: told.reads,
        from_owners: told.from_owners,
        slowest_write: seconds(told.slowest),
        slowest_read: seconds(told.slowest_read),
        given_up: told.given_up,
        failures: gathered(&told.failures),
        late: told.late.iter().map(lated).collect(),
        lost: found.lost,
        doubled: found.doubled,
        events: found.events,
        settled,
        findings: found.findings,
    })
}

/// Failures by the second.
fn gathered(failures: &[Failure]) -> Vec<Failed> {
    let mut gathered: BTreeMap<_, Failed> = BTreeMap::new();
    for failure in failures {
        let Failure { at, method: Method(method), code, is_answered, message } = failure;
        let at_ms = ms(*at);
        let key = (at_ms / 1_000, *method, *is_answered, i32::from(*code));
        let failed = gathered.entry(key).or_insert_with(|| Failed {
            at_ms,
            method,
            writes: failure.method.writes(),
            answered: *is_answered,
            code: format!("{code:?}"),
            message: message.clone(),
            calls: 0,
        });
        failed.calls += 1;
    }
    gathered.into_values().collect()
}

fn lated(late: &Late) -> Lated {
    let (at_ms, writes) = (ms(late.at), late.method.writes());
    Lated { at_ms, method: late.method.0, writes, took: seconds(late.took) }
}

fn ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
