//! `agora admin dead-letters`: the events that a service could not apply.

use std::{cmp::Reverse, str::FromStr};

use agora_proto::{
    admin::v1::{
        DeadLetter, DeadLetterAction, DropDeadLetterRequest, GetDeadLetterRequest,
        ListDeadLetterActionsRequest, ListDeadLettersRequest, RetryDeadLetterRequest,
        RetryDeadLetterResponse, dead_letter_service_client::DeadLetterServiceClient,
    },
    event::v1 as event,
};
use bus_schema::Source;
use clap::{Args, Subcommand};

use crate::{
    client::{Client, Connection, call},
    error::Error,
    json,
    options::{Options, Role},
    output, render,
};

const EXAMPLES: &str = "\
Examples:
  agora admin dead-letters list
  agora admin dead-letters show moderation comment:1234
  agora admin dead-letters retry moderation comment:1234
  agora admin dead-letters retry --all
  agora admin dead-letters drop moderation comment:1234 --reason 'no text, ticket 17'
  agora admin dead-letters log

Later events of the same post or comment wait behind a dead letter; they are retried once
it is applied or dropped. The query service cannot drop any, and each of its replicas has
its own: name them one by one with --query-server.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// List dead letters
    List(Of),
    /// Show one with its event
    Show(One),
    /// Retry one, and what waits behind it
    Retry(Retry),
    /// Drop one, and retry what waits behind it
    Drop(Drop),
    /// List what was done about dead letters, the newest first
    Log(Log),
}

#[derive(Debug, Args)]
pub struct Of {
    /// Only those of one service: post, comment, moderation or query
    #[arg(long)]
    service: Option<String>,
}

#[derive(Debug, Args)]
pub struct One {
    /// The service that could not apply it: comment, moderation or query
    service: String,
    /// Whose event it is, and its number
    #[arg(value_name = "SOURCE:SEQUENCE")]
    event: Name,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Retry {
    /// The service that could not apply it: comment, moderation or query
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    service: Option<String>,
    /// Whose event it is, and its number
    #[arg(value_name = "SOURCE:SEQUENCE", required_unless_present = "all", conflicts_with = "all")]
    event: Option<Name>,
    /// Every one that does not wait behind another
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Drop {
    #[command(flatten)]
    one: One,
    /// Why, for the log
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub struct Log {
    #[command(flatten)]
    of: Of,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: i32,
}

/// An event by its source and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    source: Source,
    sequence: u64,
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "must be a source and a number, such as comment:1234";
        let (source, sequence) = text.split_once(':').ok_or(example)?;
        let source = source.parse().map_err(|_| example)?;
        let sequence = sequence.parse().map_err(|_| example)?;
        Ok(Self { source, sequence })
    }
}

impl Name {
    fn source(self) -> i32 {
        event::Source::from(self.source).into()
    }
}

pub async fn run(options: &Options, command: Command) -> Result<(), Error> {
    let client = Client::connect_for_all_sites(options, Role::Operator).await?;
    match command {
        Command::List(of) => list(options, &client, of).await,
        Command::Show(one) => show(options, &client, one).await,
        Command::Retry(Retry { service: Some(service), event: Some(event), .. }) => {
            retry(&client, One { service, event }).await
        }
        Command::Retry(_) => retry_all(&client).await,
        Command::Drop(Drop { one, reason }) => drop(&client, one, reason).await,
        Command::Log(Log { of, limit }) => log(options, &client, of, limit).await,
    }
}

/// All that is parked.
async fn letters(client: &Client, of: Of) -> Result<Vec<DeadLetter>, Error> {
    let request = ListDeadLettersRequest { service: of.service.unwrap_or_default() };
    let mut letters = Vec::new();
    for mut server in client.dead_letters(&request.service) {
        let mut answers = server.list_dead_letters(request.clone()).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            letters.extend(answer.dead_letters);
        }
    }
    // As one server sends them.
    letters.sort_by(|one, other| one.service.cmp(&other.service));
    Ok(letters)
}

async fn list(options: &Options, client: &Client, of: Of) -> Result<(), Error> {
    let letters = letters(client, of).await?;
    for letter in &letters {
        output::print(match options.json {
            true => json::line(letter, ""),
            false => render::dead_letter::line(letter),
        })?;
    }
    if letters.is_empty() && !options.json {
        output::remark("no event is parked");
    }
    Ok(())
}

async fn show(options: &Options, client: &Client, one: One) -> Result<(), Error> {
    let request = GetDeadLetterRequest {
        service: one.service,
        source: one.event.source(),
        sequence: one.event.sequence,
    };
    let letters = one_of(client, &request.service);
    let answer = call(&request, |request| {
        let mut letters = letters.clone();
        async move { letters.get_dead_letter(request).await }
    })
    .await?;
    let letter = answer.dead_letter.unwrap_or_default();
    output::print(match options.json {
        true => {
            let mut value = json::value(&letter);
            let event = render::event::value(&answer.event);
            value["event"] = event.unwrap_or_else(|_| render::event::hex(&answer.event).into());
            value.to_string()
        }
        false => render::dead_letter::show(&letter, &answer.event),
    })
}

/// The server where a service runs.
fn one_of(client: &Client, service: &str) -> DeadLetterServiceClient<Connection> {
    // A name that was given, which may be empty, is asked for anywhere.
    client.dead_letters(service).swap_remove(0)
}

async fn retry(client: &Client, one: One) -> Result<(), Error> {
    let request = RetryDeadLetterRequest {
        service: one.service,
        source: one.event.source(),
        sequence: one.event.sequence,
    };
    let answer = try_again(client, &request).await?;
    tell(answer.applied, answer.stopped_at.as_ref())
}

async fn retry_all(client: &Client) -> Result<(), Error> {
    let letters = letters(client, Of { service: None }).await?;
    let (mut applied, mut stopped) = (0, 0_u64);
    for letter in letters.into_iter().filter(|letter| !letter.error.is_empty()) {
        let DeadLetter { service, source, sequence, .. } = letter;
        let request = RetryDeadLetterRequest { service, source, sequence };
        let answer = try_again(client, &request).await?;
        applied += u64::from(answer.applied);
        if let Some(letter) = answer.stopped_at {
            stopped += 1;
            output::print(render::dead_letter::line(&letter))?;
        }
    }
    output::print(format!("{} applied", render::count(applied, "event")))?;
    if stopped > 0 {
        let stopped = render::count(stopped, "event");
        return Err(Error::plain(format!("{stopped} still cannot be applied")));
    }
    Ok(())
}

async fn try_again(
    client: &Client,
    request: &RetryDeadLetterRequest,
) -> Result<RetryDeadLetterResponse, Error> {
    let letters = one_of(client, &request.service);
    call(request, |request| {
        let mut letters = letters.clone();
        async move { letters.retry_dead_letter(request).await }
    })
    .await
}

async fn drop(client: &Client, one: One, reason: String) -> Result<(), Error> {
    let request = DropDeadLetterRequest {
        service: one.service,
        source: one.event.source(),
        sequence: one.event.sequence,
        reason,
    };
    // It is not called again by itself: an answer that was lost would become "not parked".
    let mut letters = one_of(client, &request.service);
    let answer = letters.drop_dead_letter(request).await?.into_inner();
    output::print("dropped")?;
    tell(answer.applied, answer.stopped_at.as_ref())
}

/// Says what was applied, and fails if something still could not be.
fn tell(applied: u32, stopped_at: Option<&DeadLetter>) -> Result<(), Error> {
    output::print(format!("{} applied", render::count(applied.into(), "event")))?;
    let Some(letter) = stopped_at else { return Ok(()) };
    Err(Error::plain(format!("cannot apply {}", render::dead_letter::line(letter))))
}

async fn log(options: &Options, client: &Client, of: Of, limit: i32) -> Result<(), Error> {
    let service = of.service.unwrap_or_default();
    let request = ListDeadLetterActionsRequest { service, page_size: limit };
    let mut actions = Vec::new();
    for letters in client.dead_letters(&request.service) {
        let answer = call(&request, |request| {
            let mut letters = letters.clone();
            async move { letters.list_dead_letter_actions(request).await }
        })
        .await?;
        actions.extend(answer.actions);
    }
    let time = |action: &DeadLetterAction| action.time.map(|time| (time.seconds, time.nanos));
    actions.sort_by_key(|action| Reverse(time(action)));
    // Each server has sent at most as many.
    if let Ok(limit @ 1..) = usize::try_from(limit) {
        actions.truncate(limit);
    }
    for action in &actions {
        output::print(match options.json {
            true => json::line(action, ""),
            false => render::dead_letter::action(action),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_source_and_number() {
        let name = Name { source: Source::Comment, sequence: 12 };
        assert_eq!("comment:12".parse(), Ok(name));
        for wrong in ["comment", "comment:", "nobody:1", "comment:-1", ":1"] {
            assert!(wrong.parse::<Name>().unwrap_err().contains("comment:1234"), "{wrong}");
        }
    }
}
