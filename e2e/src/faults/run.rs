//! One run: a system, clients, faults, quiet, and the checks.

use std::{collections::HashSet, time::Duration};

use agora_proto::query::v1::GetThreadRequest;
use bus_schema::Source;
use chassis::planted::Bug;
use tokio::time::{Instant, sleep};

use super::{
    check,
    inject::Injector,
    load::{Load, Manner},
    plan::Plan,
    probe,
    record::Method,
    report::{Report, seconds},
};
use crate::{Result, Setup, System};

/// How long clients work before the first fault.
const WARM_UP: Duration = Duration::from_secs(2);
/// How often it is tried to check, where a service does not answer.
const CHECKS: usize = 5;
/// The pause between two tries.
const CHECK_PAUSE: Duration = Duration::from_secs(2);

/// What a run is made under.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// How long everything may take to be equal again.
    pub heal: Duration,
    /// The bug that the program has.
    pub planted: Option<Bug>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { heal: Duration::from_secs(120), planted: None }
    }
}

/// Carries a plan out, and says what it does as it goes.
///
/// # Errors
/// If the harness itself fails.
pub async fn run(
    plan: &Plan,
    conditions: Conditions,
    mut say: impl FnMut(String),
) -> Result<Report> {
    let Conditions { heal: patience, planted } = conditions;
    let setup = Setup {
        nats_servers: plan.place.nats_servers,
        is_proxied: true,
        has_small_disks: true,
        has_clocks: true,
        refills_streams: true,
        planted,
        ..Setup::new(plan.place.databases)
    };
    let mut system = System::start_with(setup).await?;
    let load = Load::start(&system.access, Manner::Pressing, plan.seed).await?;
    let shared = load.shared();
    let made = probe::made(&system.access).await?;
    let mut damaged: HashSet<Source> = HashSet::new();
    let began = Instant::now();
    let mut injector = Injector::new(&mut system);
    injector.rest(WARM_UP).await?;
    injector.back_up(&load).await?;
    let mut faults = Vec::new();
    for step in &plan.steps {
        injector.rest(step.pause).await?;
        let fault = step.fault.to_string();
        if let Some(why) = injector.why_not(step.fault) {
            say(format!("left out: {fault}: {why}"));
            continue;
        }
        say(format!("{:6.1} s  {fault}", began.elapsed().as_secs_f64()));
        damaged.extend(step.fault.damages());
        let injected = injector.inject(step.fault, &load).await;
        if let Err(error) = injected {
            return Err(format!("{}{fault}: {error}", injector.system.output()).into());
        }
        faults.push(fault);
    }
    injector.mend().await?;
    let ended = Instant::now();
    load.stop().await?;
    let worked = began.elapsed();

    let mut heal = None;
    while ended.elapsed() < patience {
        injector.rest(Duration::from_millis(100)).await?;
        if probe::is_quiet(&injector.system.access).await {
            heal = Some(ended.elapsed());
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let Injector { poisoned, findings, .. } = injector;
    let mut checked = check::check_all(&system, &shared, &poisoned).await;
    for _ in 1..CHECKS {
        if checked.is_ok() {
            break;
        }
        // As every caller does who is told so.
        sleep(CHECK_PAUSE).await;
        checked = check::check_all(&system, &shared, &poisoned).await;
    }
    let mut found = match heal {
        Some(_) => checked.map_err(|error| format!("{}cannot check: {error}", system.output()))?,
        // What can be said all the same.
        None => checked.unwrap_or_default(),
    };
    if heal.is_none() {
        let patience = patience.as_secs();
        let streams = probe::differences(&system.access).await.unwrap_or_default();
        let finding = format!("not quiet {patience} s after the last fault: {streams}");
        found.findings.push(finding);
    }
    found.findings.extend(findings);
    if heal.is_some() {
        let made_now = probe::made(&system.access).await?;
        for source in Source::ALL.iter().filter(|source| !damaged.contains(source)) {
            if made.get(source) != made_now.get(source) {
                let finding = format!("I3: the whole stream of {source} was made anew");
                found.findings.push(finding);
            }
        }
    }
    let told = shared.record.told();
    // Whoever reads goes on with another post.
    let reading = Method::of::<GetThreadRequest>();
    Ok(Report {
        seed: plan.seed,
        place: plan.place.to_string(),
        faults,
        seconds: seconds(worked),
        operations: told.operations,
        retries: told.failures.iter().filter(|failure| failure.method != reading).count() as u64,
        given_up: told.given_up,
        acknowledged: told.acknowledged.len() as u64,
        taken_back: told.taken.acknowledged,
        lost: found.lost,
        doubled: found.doubled,
        reads: told.reads,
        from_owners: told.from_owners,
        slowest_write: seconds(told.slowest),
        events: found.events,
        heal: heal.map(seconds),
        findings: found.findings,
    })
}
