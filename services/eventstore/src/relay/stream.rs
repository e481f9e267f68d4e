use std::time::Duration;

use async_nats::{
    datetime::DateTime,
    jetstream::{
        self,
        message::StreamMessage,
        stream::{
            ClusterInfo, Config, DiscardPolicy, Info, RawMessageError, RawMessageErrorKind,
            RetentionPolicy, StorageType,
        },
    },
};
use bus_schema::{Hash, Sequence, Source, Stream};

use crate::journal::Row;
use chassis::{
    Bus,
    bus::{self, StreamError},
    failpoint,
};

/// A leader that has heard of most others within this time leads: they hear of it once a
/// second, and elect another one after 4 s without a word at the earliest.
const LEASE: Duration = Duration::from_secs(3);

/// A source's stream, asked through its leader alone: a direct get may answer from a
/// replica that is behind.
#[derive(Clone)]
pub(crate) struct Remote {
    bus: Bus,
    definition: Stream,
}

/// What a stream says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) messages: u64,
    pub(crate) first: u64,
    pub(crate) last: Sequence,
    pub(crate) bytes: u64,
    /// How many bytes it may hold, if that is limited.
    pub(crate) max_bytes: Option<u64>,
    /// When it was made: another time is another stream.
    pub(crate) created: Option<DateTime>,
}

impl Extent {
    /// As far as the servers of the stream agree on who leads.
    fn of(info: &Info) -> Result<Self, async_nats::Error> {
        if !info.cluster.as_ref().is_none_or(is_led) {
            return Err("the stream has no leader".into());
        }
        let state = &info.state;
        Ok(Self {
            messages: state.messages,
            first: state.first_sequence,
            last: Sequence(state.last_sequence),
            bytes: state.bytes,
            max_bytes: u64::try_from(info.config.max_bytes).ok(),
            created: Some(info.created),
        })
    }

    /// Whether it has every message up to the last one, by its own account.
    pub(crate) fn is_whole(&self) -> bool {
        self.messages == self.last.0 && (self.first == 1 || self.messages == 0)
    }
}

/// A message of the stream, as far as the journal is concerned.
pub(super) struct Stored {
    /// The hash in its header.
    pub(super) hash: Option<Hash>,
    pub(super) row: Row,
}

impl Remote {
    pub(crate) const fn new(bus: Bus, definition: Stream) -> Self {
        Self { bus, definition }
    }

    pub(super) const fn source(&self) -> Source {
        self.definition.source
    }

    pub(super) const fn name(&self) -> &'static str {
        self.definition.name
    }

    pub(super) const fn jetstream(&self) -> &jetstream::Context {
        self.bus.jetstream()
    }

    pub(super) const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// What the stream holds; nothing if it is absent. An error if it is not this
    /// installation's: what it holds is nobody's business here.
    pub(crate) async fn extent(&self) -> Result<Option<Extent>, StreamError> {
        if failpoint!(RelayTrustsDirectGet)
            && let Some(extent) = self.extent_by_direct_get().await
        {
            return Ok(Some(extent));
        }
        let Some(stream) = self.bus.stream(self.source()).await? else { return Ok(None) };
        Ok(Some(Extent::of(stream.cached_info())?))
    }

    /// What the stream holds, whoever it belongs to, and the installation that it names.
    pub(super) async fn anybodys(
        &self,
    ) -> Result<Option<(Extent, Option<String>)>, async_nats::Error> {
        let Some(stream) = self.bus.anybodys(self.source()).await? else { return Ok(None) };
        let info = stream.cached_info();
        Ok(Some((Extent::of(info)?, bus::installation(info).map(Into::into))))
    }

    /// What any server of a cluster says of its end, however far it is.
    async fn extent_by_direct_get(&self) -> Option<Extent> {
        let stream = self.jetstream().get_stream_no_info(self.name()).await.ok()?;
        let newest = stream.direct_get_last_for_subject(self.definition.subject).await.ok()?;
        let (messages, last) = (newest.sequence, Sequence(newest.sequence));
        Some(Extent { messages, first: 1, last, created: None, bytes: 0, max_bytes: None })
    }

    /// Makes the stream. Every limit is stated: none is left to a server's default.
    pub(super) async fn create(&self) -> Result<(), async_nats::Error> {
        let Stream { name, subject, replicas, max_bytes, max_message_size, .. } = self.definition;
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
            allow_direct: failpoint!(RelayTrustsDirectGet),
            metadata: [self.mark()].into(),
            ..Default::default()
        };
        self.jetstream().create_stream(config).await?;
        Ok(())
    }

    /// Makes the stream this installation's; nothing else of it changes.
    pub(super) async fn adopt(&self) -> Result<(), async_nats::Error> {
        let stream = self.jetstream().get_stream(self.name()).await?;
        let mut config = stream.cached_info().config.clone();
        config.metadata.extend([self.mark()]);
        self.jetstream().update_stream(config).await?;
        Ok(())
    }

    /// What stands in the metadata of this installation's streams.
    fn mark(&self) -> (String, String) {
        (Stream::INSTALLATION_KEY.to_owned(), self.bus.installation().to_string())
    }

    /// One message, read from the leader; none if the stream says that it has none.
    pub(super) async fn find(
        &self,
        sequence: Sequence,
    ) -> Result<Option<Stored>, async_nats::Error> {
        let stream = self.jetstream().get_stream_no_info(self.name()).await?;
        let message = match stream.get_raw_message(sequence.0).await {
            Ok(message) => message,
            Err(_) if failpoint!(RelayTrustsDirectGet) => stream.direct_get(sequence.0).await?,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let StreamMessage { sequence, headers, payload, .. } = message;
        let hash =
            headers.get(Stream::HASH_HEADER).and_then(|value| Hash::from_hex(value.as_str()));
        let row =
            Row { sequence: Sequence(sequence), hash: hash.unwrap_or_default(), event: payload };
        Ok(Some(Stored { hash, row }))
    }

    /// Deletes the stream. Only for one whose content the journal was proven to hold.
    pub(super) async fn delete(&self) -> Result<(), StreamError> {
        // The proof takes time: somebody else may have made one under its name since.
        if self.bus.stream(self.source()).await?.is_some() {
            self.jetstream().delete_stream(self.name()).await.map_err(async_nats::Error::from)?;
        }
        Ok(())
    }
}

/// Whether what a server of a cluster says of a stream is all that there is: it leads, and no
/// other one can lead yet. One that the others do not reach answers, too: without a leader
/// as far as it is, and as the leader that it was for up to 20 s, while these elect another.
fn is_led(cluster: &ClusterInfo) -> bool {
    let others = &cluster.replicas;
    // One that was never heard of is said to have been active for no time at all.
    let heard = others.iter().filter(|peer| !peer.active.is_zero() && peer.active < LEASE);
    cluster.leader.is_some() && 2 * (heard.count() + 1) > others.len() + 1
}

/// Whether the leader has answered that it cannot show the message: it has none, or one
/// whose checksum is wrong. Everything else may be different a moment later.
fn is_missing(error: &RawMessageError) -> bool {
    match error.kind() {
        RawMessageErrorKind::NoMessageFound => true,
        RawMessageErrorKind::JetStream(cause) => {
            cause.error_code() == jetstream::ErrorCode::NO_MESSAGE_FOUND
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_has_not_heard_of_most_others_does_not_lead() {
        let peer = |active_ms: u64| json!({ "name": "n", "current": true, "active": active_ms * 1_000_000 });
        let cases = [
            ("it is alone and always was", json!({ "leader": "a" }), true),
            ("it hears of all", json!({ "leader": "a", "replicas": [peer(900), peer(40)] }), true),
            (
                "it hears of one of two",
                json!({ "leader": "a", "replicas": [peer(9_000), peer(40)] }),
                true,
            ),
            (
                "it was cut off",
                json!({ "leader": "a", "replicas": [peer(3_100), peer(3_200)] }),
                false,
            ),
            (
                "it never heard of any",
                json!({ "leader": "a", "replicas": [peer(0), peer(0)] }),
                false,
            ),
            ("nobody leads", json!({ "replicas": [peer(100), peer(0)] }), false),
        ];
        for (what, cluster, expected) in cases {
            let cluster: ClusterInfo = serde_json::from_value(cluster).unwrap();
            assert_eq!(is_led(&cluster), expected, "{what}");
        }
    }
}
