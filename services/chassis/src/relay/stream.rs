use async_nats::jetstream::{
    self,
    context::GetStreamErrorKind,
    message::StreamMessage,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use bus_schema::{Hash, Sequence, Stream};

use crate::journal::Row;

/// A source's stream, asked through its leader alone: a direct get may answer from a
/// replica that is behind.
pub(super) struct Remote {
    jetstream: jetstream::Context,
    definition: Stream,
}

/// What a stream says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) messages: u64,
    pub(super) first: u64,
    pub(super) last: Sequence,
}

/// A message of the stream, as far as the journal is concerned.
pub(super) struct Stored {
    /// The hash in its header.
    pub(super) hash: Option<Hash>,
    pub(super) row: Row,
}

impl Remote {
    pub(super) const fn new(jetstream: jetstream::Context, definition: Stream) -> Self {
        Self { jetstream, definition }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.definition.name
    }

    pub(super) const fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// What the stream holds; nothing if it is absent.
    pub(super) async fn extent(&self) -> Result<Option<Extent>, async_nats::Error> {
        match self.jetstream.get_stream(self.name()).await {
            Ok(stream) => {
                let state = &stream.cached_info().state;
                Ok(Some(Extent {
                    messages: state.messages,
                    first: state.first_sequence,
                    last: Sequence(state.last_sequence),
                }))
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(cause)
                    if cause.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Makes the stream. Every limit is stated: none is left to a server's default.
    pub(super) async fn create(&self) -> Result<(), async_nats::Error> {
        let Stream { name, subject, replicas, max_bytes, max_message_size } = self.definition;
        let config = Config {
            name: name.into(),
            subjects: vec![subject.into()],
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            num_replicas: replicas,
            max_bytes,
            max_message_size,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            // No age: events are kept for ever.
            max_age: std::time::Duration::ZERO,
            deny_delete: true,
            deny_purge: true,
            allow_direct: false,
            ..Default::default()
        };
        self.jetstream.create_stream(config).await?;
        Ok(())
    }

    /// One message, read from the leader.
    pub(super) async fn message(&self, sequence: Sequence) -> Result<Stored, async_nats::Error> {
        let stream = self.jetstream.get_stream_no_info(self.name()).await?;
        let StreamMessage { sequence, headers, payload, .. } =
            stream.get_raw_message(sequence.0).await?;
        let hash =
            headers.get(Stream::HASH_HEADER).and_then(|value| Hash::from_hex(value.as_str()));
        let row =
            Row { sequence: Sequence(sequence), hash: hash.unwrap_or_default(), event: payload };
        Ok(Stored { hash, row })
    }
}
