//! `agora admin stream`: streams and their journals.

use std::process::ExitCode;

use agora_proto::{
    admin::v1::{
        GetStreamStatusRequest, GetStreamStatusResponse, RefillStreamRequest, RefillStreamResponse,
        VerifyStreamRequest, VerifyStreamResponse,
    },
    event::v1 as event,
};
use bus_schema::Source;
use clap::{Args, Subcommand};
use serde_json::json;
use tonic::Code;

use super::adopt::{Adopt, adopt};
use crate::{
    client::{Client, call},
    error::Error,
    options::{Options, Role},
    output,
    progress::Progress,
    render::{count, style, text},
};

const EXAMPLES: &str = "\
Examples:
  agora admin stream status
  agora admin stream verify comment
  agora admin stream refill comment
  agora admin stream adopt comment

A stream is deleted only after the journal was verified to hold all that is left of it.
With replicas, refill needs the leader, which runs the relay: `status` says which it is.

Every stream names the installation that it belongs to. Nobody reads or writes one that
names another, or none as those that older versions made: after an upgrade from such a
version, adopt each stream once.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Compare streams with their journals at both ends
    Status(Status),
    /// Read a whole stream against its journal; exits with 1 at a difference
    Verify(One),
    /// Delete a damaged stream and refill it from the journal
    Refill(One),
    /// Adopt a stream that names another installation, or none
    Adopt(Adopt),
}

#[derive(Debug, Args)]
pub struct Status {
    /// post, comment or moderation [default: all that run there]
    source: Option<Source>,
}

#[derive(Debug, Args)]
pub struct One {
    /// post, comment or moderation
    source: Source,
}

fn number(source: Source) -> i32 {
    event::Source::from(source).into()
}

pub async fn run(options: &Options, command: Command) -> Result<ExitCode, Error> {
    let client = Client::connect_for_all_sites(options, Role::Operator).await?;
    match command {
        Command::Status(Status { source }) => status(options, &client, source).await?,
        Command::Verify(One { source }) => {
            if !verify(options, &client, source).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Refill(One { source }) => refill(&client, source).await?,
        Command::Adopt(arguments) => adopt(options, &client, arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(options: &Options, client: &Client, source: Option<Source>) -> Result<(), Error> {
    let sources = source.map_or_else(|| Source::ALL.to_vec(), |source| vec![source]);
    let mut shown = 0;
    for source in &sources {
        let source = *source;
        let request = GetStreamStatusRequest { source: number(source) };
        let answered = call(&request, |request| {
            let mut streams = client.streams(source);
            async move { streams.get_stream_status(request).await }
        })
        .await;
        match answered {
            // Of all sources those are shown that run there.
            Err(Error::Refused(status)) if sources.len() > 1 && status.code() == Code::NotFound => {
            }
            answered => {
                print(options, source, &answered?)?;
                shown += 1;
            }
        }
    }
    if shown == 0 {
        return Err(Error::plain("no source runs there: name its server with --server"));
    }
    Ok(())
}

fn print(options: &Options, source: Source, status: &GetStreamStatusResponse) -> Result<(), Error> {
    if options.json {
        let value = json!({
            "source": source.as_str(),
            "journalSequence": status.journal_sequence,
            "present": status.present,
            "messages": status.messages,
            "installation": status.installation,
            "firstSequence": status.first_sequence,
            "lastSequence": status.last_sequence,
            "finding": status.finding,
            "leads": status.leads,
        });
        return output::print(value.to_string());
    }
    let journal = count(status.journal_sequence, "event");
    let stream = match status.present {
        true => count(status.messages, "message"),
        false => "absent".to_owned(),
    };
    let whose = match (status.present, status.installation.as_str()) {
        (false, _) => String::new(),
        (true, "") => ", of no installation".to_owned(),
        (true, name) => format!(", of the installation {}", text::line(name)),
    };
    let leads = if status.leads { "" } else { ", another replica runs the relay" };
    output::print(format!(
        "{} journal: {journal}; stream: {stream}{whose}{leads}; {}",
        style::strong(source.as_str()),
        text::line(&status.finding)
    ))
}

/// Whether the stream is equal.
async fn verify(options: &Options, client: &Client, source: Source) -> Result<bool, Error> {
    let request = VerifyStreamRequest { source: number(source) };
    let mut answers = client.streams(source).verify_stream(request).await?.into_inner();
    let mut progress = Progress::start("verifying", 0, "messages");
    let mut last = VerifyStreamResponse::default();
    while let Some(answer) = answers.message().await? {
        progress.set(answer.done, answer.total);
        last = answer;
    }
    progress.finish();
    let line = format!("{source}: {}: {}", count(last.done, "message"), text::line(&last.finding));
    output::print(match (options.json, last.equal) {
        (true, equal) => json!({
            "source": source.as_str(),
            "compared": last.done,
            "damaged": last.damaged,
            "finding": last.finding,
            "equal": equal,
        })
        .to_string(),
        (false, true) => style::good(&line),
        (false, false) => style::bad(&line),
    })?;
    Ok(last.equal)
}

async fn refill(client: &Client, source: Source) -> Result<(), Error> {
    let request = RefillStreamRequest { source: number(source) };
    let mut answers = client.streams(source).refill_stream(request).await?.into_inner();
    let mut progress = Progress::start("proving", 0, "messages");
    let mut last = RefillStreamResponse { proving: true, ..Default::default() };
    while let Some(answer) = answers.message().await? {
        if last.proving != answer.proving {
            progress.rename("filling");
        }
        progress.set(answer.done, answer.total);
        last = answer;
    }
    progress.finish();
    if last.proving || last.done < last.total {
        return Err(Error::plain("the server has ended the refill before it was done"));
    }
    output::print(style::good(&format!("{source}: filled with {}", count(last.done, "message"))))
}
