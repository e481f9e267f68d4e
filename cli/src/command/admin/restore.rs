//! `agora admin restore` and `agora admin fork`: databases that are made again.

use agora_proto::{
    admin::v1::{RestoreDatabaseRequest, RestoreDatabaseResponse},
    event::v1 as event,
};
use bus_schema::Source;
use clap::Args;
use serde_json::json;

use crate::{
    client::Client,
    error::Error,
    options::{Options, Role},
    output,
    progress::Progress,
    render::{count, style},
};

#[derive(Debug, Args)]
pub struct Restore {
    /// post, comment or moderation
    source: Source,
}

#[derive(Debug, Args)]
#[command(after_help = "\
`agora admin dead-letters list` shows the parked events, and `agora admin dead-letters
retry` appends them again: no acknowledged write is lost.")]
pub struct Fork {
    /// post, comment or moderation
    source: Source,
}

pub async fn restore(options: &Options, Restore { source }: Restore) -> Result<(), Error> {
    let last = run(options, source, false).await?;
    print(options, source, &last, "restored from its journal and its stream")
}

pub async fn fork(options: &Options, Fork { source }: Fork) -> Result<(), Error> {
    let last = run(options, source, true).await?;
    let parked = count(last.parked, "event");
    print(
        options,
        source,
        &last,
        &format!("restored from its stream, {parked} parked as dead letters"),
    )
}

async fn run(
    options: &Options,
    source: Source,
    fork: bool,
) -> Result<RestoreDatabaseResponse, Error> {
    let client = Client::connect_for_all_sites(options, Role::Operator).await?;
    let request = RestoreDatabaseRequest { source: event::Source::from(source).into(), fork };
    let mut answers = client.streams(source).restore_database(request).await?.into_inner();
    let mut progress = Progress::start("reading the stream", 0, "messages");
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        progress.set(answer.done, answer.total);
        last = Some(answer);
    }
    progress.finish();
    last.ok_or_else(|| Error::plain("the server has ended it before it was done"))
}

fn print(
    options: &Options,
    source: Source,
    last: &RestoreDatabaseResponse,
    what: &str,
) -> Result<(), Error> {
    output::print(match options.json {
        true => json!({
            "source": source.as_str(),
            "journalSequence": last.journal_sequence,
            "kept": last.kept,
            "parked": last.parked,
        })
        .to_string(),
        false => style::good(&format!(
            "{source}: {what}; its journal has {}",
            count(last.journal_sequence, "event")
        )),
    })
}
