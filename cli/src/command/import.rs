//! `agora import`: discussions from elsewhere.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use clap::{Args, Subcommand, error::ErrorKind};
use eventstore::Position;
use prost_types::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    error::Error,
    folder::shell_word,
    import::{
        load::{self, Source},
        report::{self, Report},
    },
    options::{Options, Role},
    output,
};

const EXAMPLES: &str = "\
Examples:
  agora import youtube-csv comments/*.csv
  agora import youtube-csv --site music --json Youtube01-Psy.csv

youtube-csv is the one kind of export there is so far.
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
    /// No kind that there is, such as a file without one.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct YoutubeCsv {
    /// CSV files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// `all` is the whole command line, for usage errors.
pub async fn run(
    options: &Options,
    command: Command,
    all: fn() -> clap::Command,
) -> Result<ExitCode, Error> {
    let files = match command {
        Command::YoutubeCsv(YoutubeCsv { files }) => files,
        Command::Other(given) => without_a_kind(&given, all),
    };
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
    if stopped {
        output::remark("to go on, run the same command again: nothing is imported twice");
    } else {
        let positions = reports.iter().map(|report| report.position);
        let position = positions.fold(Position::ZERO, Position::merge);
        let position = load::settle(&client, position).await;
        if !options.json {
            let posts = reports.iter().map(|report| report.post_id.as_str()).collect();
            let held = load::held(&client, &posts, &position).await;
            output::print(report::held(held, &options.propose("queue")))?;
            output::remark(format!("try next: {}", options.propose("feed")));
        }
    }
    done?;
    Ok(if stop.is_cancelled() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Ends with the usage error of an import that does not say of what kind.
fn without_a_kind(given: &[OsString], all: fn() -> clap::Command) -> ! {
    let mut command = all();
    command.build();
    let command = command.find_subcommand_mut("import").expect("it is one of the commands");
    let kinds: Vec<&str> = command
        .get_subcommands()
        .map(|kind| kind.get_name())
        .filter(|kind| *kind != "help")
        .collect();
    let given: Vec<String> = given.iter().map(|word| shell_word(&word.to_string_lossy())).collect();
    let message = format!(
        "name the kind of export first, which is one of: {}\n\n  agora import {} {}",
        kinds.join(", "),
        kinds[0],
        given.join(" ")
    );
    command.error(ErrorKind::InvalidSubcommand, message).exit()
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
