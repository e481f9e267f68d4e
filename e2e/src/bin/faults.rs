//! `./dev faults`: injects faults from a seed into real programs under load, and checks
//! everything that was promised.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use chassis::planted::Bug;
use clap::{Parser, ValueEnum};
use e2e::{
    Result,
    faults::{
        Conditions, exit_code,
        plan::{Place, Plan},
        planted::plan,
        run,
    },
};

/// How many faults a run has: one of every kind, in about two minutes.
const FAULTS: usize = 22;
/// Among how many faults there is one of every kind.
const RARE: usize = 50;
/// The runs of CI: the seeds, and what they are made on.
const CI: [(u64, Where); 4] =
    [(1, Where::Sqlite), (2, Where::Postgres), (3, Where::Replicas), (4, Where::Cluster)];

const EXAMPLES: &str = "\
Examples:
  ./dev faults                                  one run, with a seed of the moment
  ./dev faults --seed 7 --on postgres           the same run again
  ./dev faults --minutes 30                     as many runs as fit
  ./dev faults --ci                             the short runs of CI
  ./dev faults --planted                        does it find bugs that are there?

It ends with 0 if every invariant held in every run, with 1 if one did not.";

/// Injects faults from a seed into real programs under load, and checks everything that
/// was promised.
#[derive(Parser)]
#[command(name = "faults", after_help = EXAMPLES)]
struct Arguments {
    /// What the first run follows from; each further one takes the next number.
    #[arg(long)]
    seed: Option<u64>,
    /// Run again and again, for about so many minutes.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// How many faults a run has.
    #[arg(long, default_value_t = FAULTS)]
    faults: usize,
    /// Inject those faults alone whose description begins like this, such as `kill`.
    #[arg(long, value_name = "WORDS")]
    only: Option<String>,
    /// What the runs are made on; without it they take turns.
    #[arg(long, value_enum)]
    on: Option<Where>,
    /// A fixed set of short runs.
    #[arg(long, conflicts_with_all = ["seed", "minutes", "on", "only"])]
    ci: bool,
    /// Plant bugs into the program, which must be built for that, and show that each is found.
    #[arg(long, conflicts_with_all = ["seed", "minutes", "on", "only", "ci"])]
    planted: bool,
    /// Plant these alone.
    #[arg(long, value_enum, hide_possible_values = true, requires = "planted")]
    bug: Vec<Bug>,
    /// Print one JSON object a run, and nothing else.
    #[arg(long)]
    json: bool,
}

/// What a run is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Where {
    /// SQLite files, one process a service.
    Sqlite,
    /// PostgreSQL, one process a service.
    Postgres,
    /// PostgreSQL, three replicas of each service.
    Replicas,
    /// SQLite files, and three NATS servers as a cluster.
    Cluster,
}

impl Where {
    const ALL: [Self; 4] = [Self::Sqlite, Self::Postgres, Self::Replicas, Self::Cluster];

    const fn place(self) -> Place {
        match self {
            Self::Sqlite => Place::SQLITE,
            Self::Postgres => Place::POSTGRES,
            Self::Replicas => Place::REPLICAS,
            Self::Cluster => Place::CLUSTER,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::select! {
        ended = all(&arguments) => ended,
        // What was started and mounted goes.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    exit_code(ended)
}

/// Whether every run was good.
async fn all(arguments: &Arguments) -> Result<bool> {
    if arguments.planted {
        return planted(arguments).await;
    }
    let began = Instant::now();
    let (mut good, mut runs) = (0, 0);
    if arguments.ci {
        for (seed, place) in CI {
            runs += 1;
            good += u32::from(one(arguments, seed, place).await?);
        }
    } else {
        let end = Duration::from_secs_f64(60.0 * arguments.minutes.unwrap_or_default());
        let first = arguments.seed.unwrap_or_else(moment);
        loop {
            let seed = first + u64::from(runs);
            let turn = Where::ALL[usize::try_from(seed % 4)?];
            good += u32::from(one(arguments, seed, arguments.on.unwrap_or(turn)).await?);
            runs += 1;
            if began.elapsed() >= end {
                break;
            }
        }
    }
    if !arguments.json {
        println!("{good} of {runs} runs were good, in {:.0} s", began.elapsed().as_secs_f64());
    }
    Ok(good == runs)
}

async fn one(arguments: &Arguments, seed: u64, place: Where) -> Result<bool> {
    let mut plan = Plan::new(seed, place.place(), arguments.faults);
    if let Some(words) = &arguments.only {
        plan = Plan::new(seed, place.place(), arguments.faults * RARE);
        plan.steps.retain(|step| step.fault.to_string().starts_with(words));
        plan.steps.truncate(arguments.faults);
    }
    let report = run(&plan, Conditions::default(), |line| {
        if !arguments.json {
            println!("{line}");
        }
    })
    .await
    .map_err(|error| format!("{error} (seed {seed})"))?;
    println!("{}", if arguments.json { serde_json::to_string(&report)? } else { report.text() });
    Ok(report.is_good())
}

/// Whether every planted bug was found, and none where none was planted.
async fn planted(arguments: &Arguments) -> Result<bool> {
    let bugs = if arguments.bug.is_empty() { Bug::value_variants() } else { &arguments.bug };
    let (mut found, mut planted) = (0, 0);
    for bug in bugs.iter().copied() {
        let (plan, name) = (plan(bug), bug.name());
        planted += 1;
        let without = run(&plan, Conditions::default(), |_| {}).await?;
        let conditions = Conditions { heal: Duration::from_secs(30), planted: Some(bug) };
        // A run that cannot be ended has found something, too.
        let shown = match run(&plan, conditions, |_| {}).await {
            Ok(report) => {
                report.findings.first().and_then(|text| Some(text.lines().next()?.into()))
            }
            // What the services have printed comes first.
            Err(error) => error.to_string().lines().last().map(str::to_owned),
        };
        let is_found = without.is_good() && shown.is_some();
        found += u32::from(is_found);
        if arguments.json {
            println!("{}", serde_json::json!({ "bug": name, "found": is_found, "by": shown }));
            continue;
        }
        match (without.is_good(), shown) {
            (false, _) => println!("{name}: found where it is not:\n{}", without.text()),
            (true, Some(shown)) => println!("{name}: found: {shown}"),
            (true, None) => println!("{name}: MISSED"),
        }
    }
    if !arguments.json {
        println!("{found} of {planted} planted bugs were found");
    }
    Ok(found == planted)
}

/// A seed that is another one every second.
fn moment() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
