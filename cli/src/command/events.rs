//! `agora events`: follow the events on the bus.

use std::{pin::Pin, time::Duration};

use async_nats::jetstream::{
    self, Message,
    consumer::{DeliverPolicy, ReplayPolicy, pull},
};
use backon::{ConstantBuilder, Retryable as _};
use bus_schema::{Event, Site, Source, Stream};
use clap::{Args, Subcommand};
use futures::{Stream as Messages, StreamExt as _, stream};

use crate::{
    error::Error,
    nats,
    options::Options,
    output,
    render::{self, event, style},
};

const EXAMPLES: &str = "\
Examples:
  agora events tail                            what happens from now on
  agora events tail --all --source comment     and what happened before
  agora events tail --from 1000 --source post --json
  agora events tail --all --limit 10 --site blog

With --json an event is protobuf's canonical JSON, except that ids are UUIDs, hashes
hexadecimal and contents texts.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Print events as they come, until Ctrl-C
    Tail(Tail),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Tail {
    /// Only the events of one source: post, comment or moderation
    #[arg(long)]
    source: Option<Source>,
    /// Begin at this sequence of each source
    #[arg(long, value_name = "SEQUENCE", conflicts_with_all = ["all", "new"])]
    from: Option<u64>,
    /// Begin at the first event
    #[arg(long, conflicts_with = "new")]
    all: bool,
    /// Only what comes from now on; the default
    #[arg(long)]
    new: bool,
    /// End after this many events
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    nats: nats::Nats,
}

const STREAM_DELAY: Duration = Duration::from_millis(250);
const STREAM_TRIES: usize = 20;

/// The events of several streams as they come.
type Tailed = Pin<Box<dyn Messages<Item = Result<Message, Error>> + Send>>;

pub async fn run(options: &Options, command: Command) -> Result<(), Error> {
    let Command::Tail(tail) = command;
    // Without --site the events of all sites are shown.
    let site = match &options.site {
        Some(site) => {
            let site: Site = site.parse().map_err(Error::failed(format!("wrong --site {site}")))?;
            Some(site)
        }
        None => None,
    };
    let jetstream = nats::connect(options, &tail.nats).await?;
    let sources = tail.source.map_or_else(|| Source::ALL.to_vec(), |source| vec![source]);
    let mut streams = Vec::new();
    for source in sources {
        streams.push(open(&jetstream, source, site.as_ref(), &tail).await?);
    }

    let mut events = stream::select_all(streams).take(tail.limit.unwrap_or(usize::MAX));
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let message = tokio::select! {
            message = events.next() => message,
            _ = &mut interrupted => None,
        };
        let Some(message) = message else { return Ok(()) };
        output::print(show(options, &message?))?;
    }
}

async fn open(
    jetstream: &jetstream::Context,
    source: Source,
    site: Option<&Site>,
    tail: &Tail,
) -> Result<Tailed, Error> {
    let name = Stream::of(source, 1, -1).name;
    let deliver_policy = match tail.from {
        Some(sequence) => DeliverPolicy::ByStartSequence { start_sequence: sequence.max(1) },
        None if tail.all => DeliverPolicy::All,
        None => DeliverPolicy::New,
    };
    let config = pull::OrderedConfig {
        deliver_policy,
        filter_subject: site.map(|site| format!("agora.{source}.{site}.>")).unwrap_or_default(),
        replay_policy: ReplayPolicy::Instant,
        max_expires: Duration::from_secs(30),
        ..Default::default()
    };
    let cannot = move || format!("cannot read stream {name}");
    // A source that starts makes its stream in a moment.
    let backoff = ConstantBuilder::default().with_delay(STREAM_DELAY).with_max_times(STREAM_TRIES);
    let stream = (|| jetstream.get_stream(name))
        .retry(backoff)
        .sleep(tokio::time::sleep)
        .await
        .map_err(Error::failed(cannot()))?;
    let consumer = stream.create_consumer(config).await.map_err(Error::failed(cannot()))?;
    let messages = consumer.messages().await.map_err(Error::failed(cannot()))?;
    Ok(messages.map(move |message| message.map_err(Error::failed(cannot()))).boxed())
}

fn show(options: &Options, message: &Message) -> String {
    if options.json {
        return match event::value(&message.payload) {
            Ok(value) => value.to_string(),
            Err(error) => unreadable(message, &error),
        };
    }
    match Event::decode(message.payload.clone()) {
        Ok(event) => event::line(&event),
        Err(error) => style::bad(&unreadable(message, &error)),
    }
}

/// A message that is no event that this program knows, as JSON; it is shown rather
/// than left out.
fn unreadable(message: &Message, error: &dyn std::error::Error) -> String {
    let sequence = message.info().map(|info| info.stream_sequence).unwrap_or_default();
    let subject = render::text::line(&message.subject);
    let error = error.to_string();
    serde_json::json!({ "subject": subject, "sequence": sequence, "error": error }).to_string()
}
