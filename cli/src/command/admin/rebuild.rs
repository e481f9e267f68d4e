//! `agora admin rebuild`: make the view anew from the streams.

use agora_proto::admin::v1::{RebuildPhase, RebuildViewRequest, RebuildViewResponse};
use clap::{Args, Subcommand};

use crate::{
    client::Client,
    error::Error,
    options::{Options, Role},
    output,
    progress::Progress,
    render::{self, style},
};

const EXAMPLES: &str = "\
Examples:
  agora admin rebuild query
  agora admin rebuild query --undo
  agora admin rebuild query --query-server http://query-1:7404 --token TOKEN

Rebuilds the CQRS read model blue/green: reads continue, the new view is compared with the
served one, table by table, and replaces it; the old one is kept for --undo. After an
interrupt, such as Ctrl-C, call it again to resume. Each replica has a view of its own.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Rebuild the read model of the query service by replay
    Query(Query),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Query {
    /// Roll back to the view that was served before the last rebuild
    #[arg(long)]
    undo: bool,
    /// Serve the new view even if it differs from the old one
    #[arg(long, conflicts_with = "undo")]
    accept_differences: bool,
}

pub async fn run(options: &Options, command: Command) -> Result<(), Error> {
    let Command::Query(Query { undo, accept_differences }) = command;
    let client = Client::connect_for_all_sites(options, Role::Operator).await?;
    let request = RebuildViewRequest { undo, accept_differences };
    let mut answers = client.view().rebuild_view(request).await?.into_inner();
    let mut progress = Progress::start(doing(RebuildPhase::Folding), 0, "events");
    let mut last = RebuildViewResponse::default();
    while let Some(answer) = answers.message().await? {
        if last.phase != answer.phase {
            progress.rename(doing(answer.phase()));
        }
        progress.set(answer.done, answer.total);
        last = answer;
    }
    progress.finish();
    if last.phase() != RebuildPhase::Switched {
        return Err(Error::plain("the server has ended the rebuild before it was done"));
    }
    let events = render::count(last.done, "event");
    output::print(style::good(&format!("switched to the new view, rebuilt from {events}")))
}

const fn doing(phase: RebuildPhase) -> &'static str {
    match phase {
        RebuildPhase::Unspecified | RebuildPhase::Folding => "folding",
        RebuildPhase::Indexing => "making indexes",
        RebuildPhase::Comparing => "comparing",
        RebuildPhase::Switched => "switched",
    }
}
