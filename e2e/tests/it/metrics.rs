//! What the programs measure of themselves: all that rules, dashboards and runbooks ask for, and
//! what is said of failures while they last.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use agora_proto::comment::v1::CreateCommentRequest;
use e2e::{Databases, Result, Role, Service, System, wait_until};

use tokio::task::JoinSet;

use crate::{
    check::quiet,
    write::{SITE, Writers, create_post},
};

/// The labels that Prometheus adds to what it scrapes, as the chart's ServiceMonitors have it do.
const LABELS_OF_TARGETS: [&str; 6] = ["namespace", "release", "pod", "instance", "job", "le"];

/// What one program exposes: each series by its name and its labels.
#[derive(Default)]
pub struct Exposed(Vec<(String, BTreeMap<String, String>, f64)>);

impl Exposed {
    /// What a service's first replica exposes; nothing while it does not answer.
    pub async fn by(system: &System, service: Service) -> Self {
        let text = system.metrics(service).await.unwrap_or_default();
        Self(text.lines().filter_map(series).collect())
    }

    /// The value of a series that has these labels, among others.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| found.get(*label).is_some_and(|is| is == value))
        };
        self.0.iter().find(|(found, labels, _)| found == name && has(labels)).map(|found| found.2)
    }

    /// The value of a series of a source.
    fn of(&self, name: &str, source: &str) -> Option<f64> {
        self.get(name, &[("source", source)])
    }
}

/// A line such as `agora_leader{service="post"} 1`.
fn series(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}')?.split("\",").filter_map(|label| {
        let (label, value) = label.split_once("=\"")?;
        Some((label.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name.to_owned(), labels.collect(), value.parse().ok()?))
}

/// What rules, dashboards and runbooks ask for: names of metrics, and the labels that are chosen by.
fn wanted(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut wanted = wanted_of("agora_", text);
    wanted.extend(wanted_of("process_", text));
    wanted
}

fn wanted_of(prefix: &str, text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut wanted = BTreeMap::<String, BTreeSet<String>>::new();
    let mut rest = text;
    while let Some(start) = rest.find(prefix) {
        let is_begin = !rest[..start].ends_with(is_name);
        let (name, after) = rest[start..]
            .split_at(rest[start..].find(|c| !is_name(c)).unwrap_or(rest.len() - start));
        rest = after;
        // What rules record has a colon in its name.
        if !is_begin || name.contains(':') {
            continue;
        }
        let labels = wanted.entry(name.to_owned()).or_default();
        let matchers = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        for matcher in matchers.map(|(inside, _)| inside).unwrap_or_default().split(',') {
            if let Some((label, _)) = matcher.split_once(['=', '!']) {
                labels.insert(label.trim().to_owned());
            }
        }
    }
    wanted
}

/// The files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_rules_dashboards_and_runbooks_ask_for_is_exposed() -> Result {
    let system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "metrics").await?;
    Writers::start(&system, &post, 20)?.finish().await?;
    quiet(&system).await?;

    let mut exposed = BTreeMap::<String, BTreeSet<String>>::new();
    for service in Service::ALL {
        let text = system.metrics(service).await.ok_or("a service exposes nothing")?;
        let described: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' ').map(|(name, _)| name))
            .collect();
        for (name, labels, _) in text.lines().filter_map(series) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
                name.strip_suffix(part).filter(|family| described.contains(family))
            });
            let family = family.unwrap_or(&name);
            assert!(described.contains(family), "{family} of {service} is not described");
            exposed.entry(name).or_default().extend(labels.into_keys());
        }
    }

    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    // KEDA asks for metrics, too.
    let mut asking = vec![deploy.join("helm/agora/templates/autoscalers.yaml")];
    for folder in ["helm/agora/files/rules", "helm/agora/files/dashboards", "monitoring/runbooks"] {
        asking.extend(files(&deploy.join(folder))?);
    }
    let mut asked = 0;
    for file in asking {
        for (name, labels) in wanted(&fs::read_to_string(&file)?) {
            let known = exposed.get(&name);
            let known = known.ok_or_else(|| format!("{name} in {file:?} is not exposed"))?;
            for label in labels {
                let is_known =
                    known.contains(&label) || LABELS_OF_TARGETS.contains(&label.as_str());
                assert!(is_known, "{name} in {file:?} has no label {label}: {known:?}");
            }
            asked += 1;
        }
    }
    assert!(asked > 20, "only {asked} metrics are asked for");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_grows_while_nats_is_down() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "lag").await?;
    Writers::start(&system, &post, 20)?.finish().await?;
    quiet(&system).await?;
    wait_until("everybody to have everything", || async {
        let comment = Exposed::by(&system, Service::Comment).await;
        let query = Exposed::by(&system, Service::Query).await;
        comment.of("agora_relay_lag_events", "comment") == Some(0.0)
            && comment.of("agora_journal_sequence", "comment") == Some(20.0)
            && comment.get("agora_nats_connected", &[]) == Some(1.0)
            && comment.of("agora_stream_bytes", "comment").is_some_and(|bytes| bytes > 1_000.0)
            && query.of("agora_consumer_sequence", "comment") == Some(20.0)
            && query.of("agora_consumer_lag_seconds", "comment") == Some(0.0)
    })
    .await?;
    let query = Exposed::by(&system, Service::Query).await;
    assert_eq!(query.of("agora_visible_seconds_count", "comment"), Some(20.0));
    let seconds = query.of("agora_visible_seconds_sum", "comment").unwrap_or_default();
    assert!(seconds > 0.0 && seconds < 20.0 * 10.0, "20 comments were visible after {seconds} s");

    system.nats.kill().await?;
    Writers::start(&system, &post, 30)?.finish().await?;
    wait_until("the lag to grow", || async {
        let comment = Exposed::by(&system, Service::Comment).await;
        let query = Exposed::by(&system, Service::Query).await;
        let is_late = |seconds: Option<f64>| seconds.is_some_and(|seconds| seconds > 8.0);
        comment.of("agora_relay_lag_events", "comment") == Some(30.0)
            && is_late(comment.of("agora_relay_lag_seconds", "comment"))
            && comment.get("agora_nats_connected", &[]) == Some(0.0)
            && is_late(comment.of("agora_consumer_lag_seconds", "post"))
            && is_late(query.of("agora_consumer_lag_seconds", "comment"))
    })
    .await?;

    system.nats.restart().await?;
    wait_until("the lag to go", || async {
        let comment = Exposed::by(&system, Service::Comment).await;
        let query = Exposed::by(&system, Service::Query).await;
        comment.of("agora_relay_lag_events", "comment") == Some(0.0)
            && comment.of("agora_relay_lag_seconds", "comment") == Some(0.0)
            && comment.get("agora_nats_connected", &[]) == Some(1.0)
            && comment.get("agora_nats_reconnects_total", &[]) == Some(1.0)
            && query.of("agora_consumer_lag_events", "comment") == Some(0.0)
            && query.of("agora_consumer_lag_seconds", "comment") == Some(0.0)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_limited_is_measured() -> Result {
    const COMMENTS: u64 = 50;
    let system = System::start().await?;
    let mut ada = system.client("ada", Role::Author)?;
    let post = create_post(&mut ada, "limits").await?;
    Writers::start(&system, &post, COMMENTS)?.finish().await?;
    quiet(&system).await?;

    let comment = Exposed::by(&system, Service::Comment).await;
    let of = |exposed: &Exposed, name: &str, service: Service| {
        exposed.get(name, &[("service", service.as_str())]).unwrap_or(f64::NAN)
    };
    let work = |exposed: &Exposed, name: &str, service: Service, work: &str| {
        let labels = [("service", service.as_str()), ("work", work)];
        exposed.get(name, &labels).unwrap_or(f64::NAN)
    };
    // Every write was carried out by one of the transactions, and every decision applied.
    for (what, size) in [("commands", COMMENTS), ("events", COMMENTS + 1)] {
        let sum = work(&comment, "agora_commit_batch_size_sum", Service::Comment, what);
        assert_eq!(sum, size as f64, "{what}");
        let count = work(&comment, "agora_commit_batch_size_count", Service::Comment, what);
        assert!(count >= 1.0 && count <= size as f64, "{count} transactions of {what}");
        let took = work(&comment, "agora_commit_duration_seconds_sum", Service::Comment, what);
        assert!(took > 0.0 && took < 60.0, "transactions of {what} took {took} s");
    }
    let query = Exposed::by(&system, Service::Query).await;
    let folded = work(&query, "agora_commit_batch_size_sum", Service::Query, "events");
    assert_eq!(folded, (1 + 2 * COMMENTS) as f64, "a post, comments, decisions");

    assert_eq!(of(&comment, "agora_queue_commands", Service::Comment), 0.0);
    assert_eq!(of(&comment, "agora_queue_commands_limit", Service::Comment), 4_096.0);
    assert_eq!(of(&comment, "agora_queue_bytes_limit", Service::Comment), 67_108_864.0);
    for (exposed, service) in [(&comment, Service::Comment), (&query, Service::Query)] {
        assert!(of(exposed, "agora_database_bytes", service) >= 4_096.0);
        assert!(of(exposed, "agora_wal_bytes", service) >= 4_096.0);
        let (in_use, limit) =
            (of(exposed, "agora_pool_in_use", service), of(exposed, "agora_pool_limit", service));
        assert!(in_use >= 0.0 && in_use <= limit && limit >= 4.0, "{in_use} of {limit}");
    }
    // The relay keeps one.
    assert!(of(&comment, "agora_pool_in_use", Service::Comment) >= 1.0);
    let program = [("program", "comment"), ("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(comment.get("agora_build_info", &program), Some(1.0));
    let process = |name: &str| comment.get(name, &[]).unwrap_or(f64::NAN);
    assert!(process("process_cpu_seconds_total") > 0.0);
    assert!(process("process_resident_memory_bytes") > 1_000_000.0);
    assert!(process("process_open_fds") > 10.0);
    assert!(process("process_max_fds") > process("process_open_fds"));
    assert!(process("process_start_time_seconds") > 1_700_000_000.0);

    // Requests that wait for a position are worked on.
    assert_eq!(comment.get("agora_requests_in_flight", &[]), Some(0.0));
    assert_eq!(comment.get("agora_requests_in_flight_limit", &[]), Some(2_048.0));
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        let mut ada = ada.clone();
        let post = post.clone();
        waiting.spawn(async move {
            let request = CreateCommentRequest {
                site: SITE.into(),
                post_id: post,
                body: "later".into(),
                position: "comment:1000000".into(),
                ..Default::default()
            };
            ada.comment.create_comment(request).await.unwrap_err()
        });
    }
    wait_until("requests in flight", || async {
        let comment = Exposed::by(&system, Service::Comment).await;
        comment.get("agora_requests_in_flight", &[]) == Some(3.0)
    })
    .await?;
    waiting.join_all().await;
    let comment = Exposed::by(&system, Service::Comment).await;
    assert_eq!(comment.get("agora_requests_in_flight", &[]), Some(0.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_down_is_told() -> Result {
    let mut system = System::start_on(Databases::Postgres { replicas: 1 }).await?;
    for service in Service::ALL {
        wait_until("databases to be up", || is_up(&system, service, 1.0)).await?;
    }
    system.postgres.as_mut().ok_or("no PostgreSQL")?.kill().await?;
    for service in Service::OWNERS {
        wait_until("databases to be down", || is_up(&system, service, 0.0)).await?;
    }
    // The view is in a file.
    assert!(is_up(&system, Service::Query, 1.0).await);
    let comment = Exposed::by(&system, Service::Comment).await;
    assert_eq!(comment.get("agora_leader", &[("service", "comment")]), Some(0.0));
    Ok(())
}

/// Whether a service says this of its database.
async fn is_up(system: &System, service: Service, up: f64) -> bool {
    let exposed = Exposed::by(system, service).await;
    exposed.get("agora_database_up", &[("service", service.as_str())]) == Some(up)
}
