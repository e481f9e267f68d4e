//! `./dev bench`: measures Agora against baselines in the same run, and prints one
//! table.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum, builder::PossibleValue};
use e2e::{
    Result,
    bench::{
        databases, echo, outage,
        report::{self, Row},
        rows::Bench,
    },
    comments,
};

/// Measures Agora against baselines in the same run, and prints one table.
#[derive(Parser)]
struct Arguments {
    /// Print one JSON object a row instead of a table.
    #[arg(long)]
    json: bool,
    /// Seconds that each measurement of a round lasts.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Rounds in which measurements and baselines alternate; the medians count.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Comments that are written until all are visible.
    #[arg(long, default_value_t = 100_000)]
    sustained: u64,
    /// Comments of the large thread. 1000000 takes some minutes.
    #[arg(long, default_value_t = 100_000)]
    large: u64,
    /// Comments of the view that is made anew while it is read. 1000000 takes some minutes.
    #[arg(long, default_value_t = 200_000)]
    view: u64,
    /// Measure PostgreSQL against SQLite, and nothing else.
    #[arg(long, conflicts_with = "only")]
    postgres: bool,
    /// Measure what callers notice of so many seconds without NATS, and nothing else.
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["only", "postgres"])]
    outage: Option<f64>,
    /// Measure only these; everything without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<What>,
    #[command(subcommand)]
    baseline: Option<Baseline>,
}

/// What can be measured, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Resident memory.
    Memory,
    /// CreateComment against an empty echo.
    Create,
    /// Comments until visible.
    Sustained,
    /// GetThread against an echo of its size.
    Thread,
    /// Create → visible at 200/s.
    Latency,
    /// The first page of a large thread.
    Large,
    /// The rebuild of the view, of what the others have written.
    Rebuild,
    /// The rebuild of the view while it is read.
    View,
}

#[derive(Subcommand)]
enum Baseline {
    /// Serve the baseline; the bench starts this by itself.
    #[command(hide = true)]
    Echo { port: u16, bytes: usize },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result {
    if let Some(Baseline::Echo { port, bytes }) = arguments.baseline {
        return echo::serve(port, bytes).await;
    }
    let rows = if let Some(down) = arguments.outage {
        outage::nats(comments()?, Duration::from_secs_f64(down)).await?.into()
    } else if arguments.postgres {
        let round = Duration::from_secs_f64(arguments.seconds);
        vec![databases::postgres(comments()?, round, arguments.rounds).await?]
    } else {
        measure(&arguments).await?
    };
    report::print(&rows, arguments.json)
}

async fn measure(arguments: &Arguments) -> Result<Vec<Row>> {
    let round = Duration::from_secs_f64(arguments.seconds);
    let mut rows = Vec::new();
    let wanted = |what: &What| arguments.only.is_empty() || arguments.only.contains(what);
    let mut running = None;
    for what in What::value_variants().iter().copied().filter(wanted) {
        let described = what.to_possible_value();
        let described = described.as_ref().and_then(PossibleValue::get_help);
        eprintln!("bench: {}", described.cloned().unwrap_or_default());
        if what == What::Memory {
            rows.push(Bench::memory().await?);
            continue;
        }
        let bench = match &mut running {
            Some(bench) => bench,
            None => running.insert(Bench::start(comments()?, round, arguments.rounds).await?),
        };
        match what {
            What::Memory => {}
            What::Create => rows.push(bench.create_comment().await?),
            What::Sustained => rows.push(bench.sustained(arguments.sustained).await?),
            What::Thread => rows.push(bench.get_thread().await?),
            What::Latency => {
                let calls = (200.0 * 2.0 * arguments.seconds) as u64;
                rows.extend(bench.latency(calls).await?);
            }
            What::Large => rows.push(bench.large_thread(arguments.large).await?),
            What::Rebuild => rows.extend(bench.rebuild().await?),
            What::View => rows.extend(bench.view(arguments.view).await?),
        }
    }
    Ok(rows)
}
