//! One source: its journal against its own chain, its stream against its journal.

use async_nats::jetstream;
use bus_schema::{Checkpoint, Sequence, Source};

use super::{
    Difference, follows,
    journal::{self, Journal},
    report::Finding,
    same,
    stream::Stream,
};
use crate::{client::Client, error::Error};

/// Compares a source's journal and stream, up to where the journal ended when this
/// began: what is written meanwhile does no harm.
pub async fn compare(
    client: &Client,
    jetstream: &jetstream::Context,
    source: Source,
) -> Result<[Finding; 2], Error> {
    let mut rows = Journal::open(client, source).await?;
    let mut messages = Stream::open(jetstream, source).await?;
    let mut head = Checkpoint::ZERO;
    let (mut in_journal, mut in_stream) = (None, None);
    let mut compared = Sequence::ZERO;

    while let Some(row) = rows.next().await? {
        match follows(head, &row) {
            Ok(after) => head = after,
            Err(difference) => {
                in_journal = Some(difference);
                break;
            }
        }
        if in_stream.is_some() {
            continue;
        }
        let message = match &mut messages {
            Some(messages) => messages.next().await?,
            None => None,
        };
        match message {
            Some(message) => in_stream = same(&row, &message).err(),
            None if messages.is_none() => in_stream = Some("the stream is absent".to_owned()),
            None => in_stream = Some(format!("message {} does not come", row.sequence)),
        }
        if in_stream.is_none() {
            compared = row.sequence;
        }
    }
    if let (None, None, Some(messages)) = (&in_journal, &in_stream, &messages) {
        in_stream = extra(client, source, messages).await?;
    }
    let finding = |invariant, what, compared: Sequence, difference| Finding {
        invariant,
        what,
        name: source.to_string(),
        compared: compared.0,
        difference,
    };
    Ok([
        finding("I2", "journal", head.sequence, in_journal),
        finding("I3", "stream", compared, in_stream),
    ])
}

/// Whether the stream holds more than the journal. The journal is asked last: what it
/// got meanwhile may be in the stream already.
async fn extra(
    client: &Client,
    source: Source,
    messages: &Stream,
) -> Result<Option<Difference>, Error> {
    let last = messages.last().await?;
    let head = journal::head(client, source).await?;
    Ok((last > head)
        .then(|| format!("the stream holds {last} messages and the journal only {head} events")))
}
