//! A source's stream, message by message, from NATS itself.

use std::time::Duration;

use async_nats::jetstream::{
    self, Message,
    consumer::{DeliverPolicy, ReplayPolicy, pull},
    context::GetStreamErrorKind,
};
use bus_schema::{Hash, Sequence, Source, Stream as Definition};
use futures::StreamExt as _;
use tokio::time::timeout;

use super::Row;
use crate::error::Error;

/// How long the next message may take: a relay that lags catches up in this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The messages of a stream from the first on.
pub struct Stream {
    name: &'static str,
    jetstream: jetstream::Context,
    messages: pull::Ordered,
}

impl Stream {
    /// Nothing if there is no such stream.
    pub async fn open(
        jetstream: &jetstream::Context,
        source: Source,
    ) -> Result<Option<Self>, Error> {
        let name = Definition::of(source, 1, -1).name;
        let cannot = || format!("cannot read stream {name}");
        let stream = match jetstream.get_stream(name).await {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(cause)
                    if cause.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
                {
                    return Ok(None);
                }
                _ => return Err(Error::failed(cannot())(error)),
            },
        };
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: 1 },
            replay_policy: ReplayPolicy::Instant,
            max_expires: Duration::from_secs(30),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(Error::failed(cannot()))?;
        let messages = consumer.messages().await.map_err(Error::failed(cannot()))?;
        Ok(Some(Self { name, jetstream: jetstream.clone(), messages }))
    }

    /// The next message; nothing if none comes in time.
    pub async fn next(&mut self) -> Result<Option<Row>, Error> {
        let Ok(message) = timeout(PATIENCE, self.messages.next()).await else { return Ok(None) };
        let cannot = || format!("cannot read stream {}", self.name);
        let Some(message) = message else {
            return Err(Error::plain(format!("{}: it has ended", cannot())));
        };
        let message = message.map_err(Error::failed(cannot()))?;
        Ok(Some(row(&message).map_err(Error::failed(cannot()))?))
    }

    /// The sequence of the last message, as the stream's leader says.
    pub async fn last(&self) -> Result<Sequence, Error> {
        let stream = self.jetstream.get_stream(self.name).await;
        let stream = stream.map_err(Error::failed(format!("cannot read stream {}", self.name)))?;
        Ok(Sequence(stream.cached_info().state.last_sequence))
    }
}

fn row(message: &Message) -> Result<Row, async_nats::Error> {
    let headers = message.headers.as_ref();
    let hash = headers
        .and_then(|headers| headers.get(Definition::HASH_HEADER))
        .and_then(|hash| Hash::from_hex(hash.as_str()));
    Ok(Row {
        sequence: Sequence(message.info()?.stream_sequence),
        // A message without a hash differs from its row by it.
        hash: hash.unwrap_or_default(),
        event: message.payload.clone(),
    })
}
