//! `agora admin stream adopt`: a stream that is to be this installation's from now on.

use std::cmp::Ordering;

use agora_proto::{
    admin::v1::{AdoptStreamRequest, AdoptStreamResponse},
    event::v1 as event,
};
use bus_schema::Source;
use clap::Args;
use serde_json::json;

use crate::{
    client::{Client, call},
    error::Error,
    options::Options,
    output,
    render::{count, style, text},
};

#[derive(Debug, Args)]
pub struct Adopt {
    /// post, comment or moderation
    source: Source,
    /// The installation that the stream names now, if it names one
    #[arg(long, value_name = "INSTALLATION")]
    from: Option<String>,
}

pub async fn adopt(options: &Options, client: &Client, arguments: Adopt) -> Result<(), Error> {
    let Adopt { source, from } = arguments;
    let request = AdoptStreamRequest {
        source: event::Source::from(source).into(),
        from: from.unwrap_or_default(),
    };
    let adopted = call(&request, |request| {
        let mut streams = client.streams(source);
        async move { streams.adopt_stream(request).await }
    })
    .await?;
    if options.json {
        let value = json!({
            "source": source.as_str(),
            "installation": adopted.installation,
            "from": adopted.from,
            "streamSequence": adopted.stream_sequence,
            "journalSequence": adopted.journal_sequence,
        });
        return output::print(value.to_string());
    }
    output::print(style::good(&format!("{source}: {}", said(&adopted))))
}

/// What was done, and what comes next.
fn said(adopted: &AdoptStreamResponse) -> String {
    let AdoptStreamResponse { installation, from, stream_sequence, journal_sequence } = adopted;
    let installation = text::line(installation);
    if *from == *installation {
        return format!("the stream belongs to this installation, {installation}, already");
    }
    let from = match from.as_str() {
        "" => "it named none".to_owned(),
        from => format!("it was {}'s", text::line(from)),
    };
    let missing = count(stream_sequence.abs_diff(*journal_sequence), "event");
    let next = match stream_sequence.cmp(journal_sequence) {
        Ordering::Equal => "it is as long as the journal".to_owned(),
        Ordering::Less => format!("{missing} of the journal are published next"),
        Ordering::Greater => format!("{missing} of it are imported next"),
    };
    format!("the stream belongs to the installation {installation} now; {from}; {next}")
}
