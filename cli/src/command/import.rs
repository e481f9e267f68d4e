//! `agora import`: discussions from elsewhere.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use chassis::Position;
use clap::{Args, Subcommand};
use prost_types::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{Options, Role},
    client::Client,
    error::Error,
    import::{
        load::{self, Source},
        report::{self, Report},
    },
    output,
};

const EXAMPLES: &str = "\
Examples:
  agora import youtube-csv comments/*.csv
  agora import youtube-csv --site music --json Youtube01-Psy.csv

A file becomes a post with the file's name as its title, and every row a comment with
its author, date and text. A file can be imported again, after an interruption or when
it has grown: what is there stays, and nothing is doubled.";

/// What an interrupted program ends with.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Exports of YouTube comments: COMMENT_ID,AUTHOR,DATE,CONTENT,CLASS
    YoutubeCsv(YoutubeCsv),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct YoutubeCsv {
    /// CSV files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub async fn run(options: &Options, command: Command) -> Result<ExitCode, Error> {
    let Command::YoutubeCsv(YoutubeCsv { files }) = command;
    // Every file is looked at before anything is written.
    let now = Timestamp::from(SystemTime::now());
    let sources = files.iter().map(|path| Source::open(path, now));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    check_names(&sources)?;
    let client = Client::connect(options, Role::Operator).await?;

    let stop = stop_at_interrupt();
    let mut reports = Vec::new();
    let mut done = Ok(());
    for source in &sources {
        let (report, loaded) = load::load(&client, source, &stop).await;
        print(options, &report)?;
        reports.push(report);
        done = loaded;
        if done.is_err() || stop.is_cancelled() {
            break;
        }
    }
    if !options.json {
        output::print(report::total(&reports, "file"))?;
    }
    let stopped = done.is_err() || stop.is_cancelled();
    if !stopped {
        let positions = reports.iter().map(|report| report.position);
        load::settle(&client, positions.fold(Position::ZERO, Position::merge)).await;
    }
    if stopped {
        output::remark("to go on, run the same command again: nothing is imported twice");
    } else if !options.json {
        output::remark("try next: agora feed");
    }
    done?;
    Ok(if stop.is_cancelled() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Two files of the same name would become one post.
fn check_names(sources: &[Source<'_>]) -> Result<(), Error> {
    let mut names: HashMap<&str, &Path> = HashMap::new();
    for source in sources {
        if let Some(other) = names.insert(&source.stem, source.path) {
            return Err(Error::plain(format!(
                "{} and {} have the same name, which would be the name of two posts: import \
                 them one after another into different sites, or rename one",
                other.display(),
                source.path.display()
            )));
        }
    }
    Ok(())
}

/// Is cancelled by Ctrl-C; a second one ends the program at once.
fn stop_at_interrupt() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            output::remark("stopping when what is on its way has arrived; again to stop at once");
            stopped.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(INTERRUPTED.into());
        }
    });
    stop
}

fn print(options: &Options, report: &Report) -> Result<(), Error> {
    if options.json {
        let line = serde_json::to_string(report).expect("a report is JSON");
        return output::print(line);
    }
    output::print(report.lines())
}
