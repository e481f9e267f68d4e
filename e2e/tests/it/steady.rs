//! A steady load tells what failed, and when.

use std::time::{Duration, SystemTime};

use e2e::{
    Result, Service, System,
    faults::{Manner, steady},
};
use tokio::time::{Instant, sleep};

/// How long clients work before and after a service is away.
const BESIDE: Duration = Duration::from_secs(2);
/// How long it is away: longer than a caller waits.
const AWAY: Duration = Duration::from_secs(6);

/// In milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_away_is_told_of_with_times() -> Result {
    let mut system = System::start().await?;
    let access = system.access.clone();
    let mut was_away = None;
    let ended = async {
        sleep(BESIDE).await;
        system.process(Service::Comment).kill().await.unwrap();
        let began = now();
        sleep(AWAY).await;
        system.process(Service::Comment).restart().unwrap();
        system.ready(Service::Comment).await.unwrap();
        was_away = Some((began, now()));
        sleep(BESIDE).await;
    };
    let begun = Instant::now();
    let manner = Manner::Steady { writes: 50.0, reads: 20.0 };
    let checked = async || Ok(access.clone());
    let found = steady(&access, manner, Duration::from_secs(30), ended, checked).await?;
    assert!(found.is_good(), "{:#?}", found.findings);
    let seconds = begun.elapsed().as_secs();
    assert!((20..=50 * seconds).contains(&found.acknowledged), "{}", found.acknowledged);
    assert!((20..=25 * seconds).contains(&found.reads), "{}", found.reads);

    let (from, to) = was_away.unwrap();
    let writes = found.failures.iter().filter(|failed| failed.writes);
    let times: Vec<u64> = writes.map(|failed| failed.at_ms).collect();
    assert!(!times.is_empty());
    // A call may have been on its way already.
    assert!(
        times.iter().all(|at| (from - 1_000..to + 1_000).contains(at)),
        "{times:?} {from} {to}"
    );
    assert!(found.late.iter().any(|late| late.writes && late.took > 5.0), "{:?}", found.late);
    assert!(found.failures.iter().all(|failed| failed.method != "GetThread"));
    Ok(())
}
