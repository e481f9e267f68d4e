//! `./dev bench`: measures Agora against baselines in the same run, and prints one
//! table.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use e2e::{
    Result,
    bench::{
        echo,
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
    #[command(subcommand)]
    baseline: Option<Baseline>,
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
    let rows = measure(&arguments).await?;
    report::print(&rows, arguments.json)
}

async fn measure(arguments: &Arguments) -> Result<Vec<Row>> {
    let say = |what: &str| eprintln!("bench: {what}");
    let round = Duration::from_secs_f64(arguments.seconds);
    let mut rows = Vec::new();

    say("resident memory");
    rows.push(Bench::memory().await?);
    let mut bench = Bench::start(comments()?, round, arguments.rounds).await?;
    say("CreateComment against an empty echo");
    rows.push(bench.create_comment().await?);
    say("comments until visible");
    rows.push(bench.sustained(arguments.sustained).await?);
    say("GetThread against an echo of its size");
    rows.push(bench.get_thread().await?);
    say("create → visible at 200/s");
    rows.extend(bench.latency((200.0 * 2.0 * arguments.seconds) as u64).await?);
    say("first page of a large thread");
    rows.push(bench.large_thread(arguments.large).await?);
    say("rebuild of the view");
    rows.extend(bench.rebuild().await?);
    Ok(rows)
}
