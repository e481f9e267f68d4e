use agora_proto::event::v1 as proto;
use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::{EventId, Kind, PostId, RequestId, Sequence, Site, Source, Time};

/// An immutable fact, owned by one source: `agora.event.v1.Event` with its
/// envelope parsed. Text that people wrote stands in [`proto::Content`] only.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// UUIDv7.
    pub id: EventId,
    /// Who owns it.
    pub source: Source,
    /// Its number in the source's journal.
    pub sequence: Sequence,
    /// When the source decided it.
    pub time: Time,
    /// Who caused it: a principal's id, or `policy`.
    pub actor: String,
    /// The request behind it, if one made it.
    pub request: Option<RequestMark>,
    /// The site that it belongs to.
    pub site: Site,
    /// The post that it belongs to.
    pub post_id: Option<PostId>,
    /// The post or comment that it happened to; none for a site's policy.
    pub aggregate: Option<Uuid>,
    /// W3C trace context of the call that caused it; may be empty.
    pub traceparent: String,
    /// What happened.
    pub kind: Kind,
}

/// What an event remembers of its request, so that a retry is known as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMark {
    /// What the caller chose.
    pub id: RequestId,
    /// Keyed BLAKE3 of the request.
    pub hash: [u8; 32],
}

/// Why bytes are no event that this program can apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not an `agora.event.v1.Event`, or a field of the envelope is invalid.
    #[error("malformed event: {0}")]
    Malformed(String),
    /// The envelope is valid, the type is none that this program knows: a newer one
    /// wrote it.
    #[error("unknown event type")]
    UnknownType {
        /// What it happened to, so that later events can wait behind it.
        aggregate: Option<Uuid>,
    },
}

impl Event {
    /// The revision of a comment that the event makes, if it makes one: its number, and its
    /// text. Its id is the event's own.
    pub const fn revision(&self) -> Option<(u32, Option<&proto::Content>)> {
        match &self.kind {
            Kind::CommentCreated(created) => Some((1, created.body.as_ref())),
            Kind::CommentUpdated(updated) => Some((updated.revision, updated.body.as_ref())),
            Kind::CommentDeleted(_)
            | Kind::PostCreated(_)
            | Kind::PostUpdated(_)
            | Kind::PostDeleted(_)
            | Kind::PostClosed(_)
            | Kind::PostReopened(_)
            | Kind::PolicySet(_)
            | Kind::RevisionDecided(_) => None,
        }
    }

    /// The decision on a revision that the event is, if it is one.
    pub const fn decision(&self) -> Option<&proto::RevisionDecided> {
        match &self.kind {
            Kind::RevisionDecided(decided) => Some(decided),
            Kind::PostCreated(_)
            | Kind::PostUpdated(_)
            | Kind::PostDeleted(_)
            | Kind::PostClosed(_)
            | Kind::PostReopened(_)
            | Kind::CommentCreated(_)
            | Kind::CommentUpdated(_)
            | Kind::CommentDeleted(_)
            | Kind::PolicySet(_) => None,
        }
    }

    /// The bytes that the journal and the stream hold.
    pub fn encode(&self) -> Bytes {
        let message = proto::Event {
            id: self.id.to_bytes(),
            source: proto::Source::from(self.source).into(),
            sequence: self.sequence.0,
            time: Some(self.time.into()),
            actor: self.actor.clone(),
            request: self.request.map(|request| proto::Request {
                id: request.id.to_bytes(),
                hash: Bytes::copy_from_slice(&request.hash),
            }),
            site: self.site.as_str().to_owned(),
            post_id: self.post_id.map(PostId::to_bytes).unwrap_or_default(),
            aggregate_id: self
                .aggregate
                .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                .unwrap_or_default(),
            traceparent: self.traceparent.clone(),
            kind: Some(self.kind.clone()),
        };
        message.encode_to_vec().into()
    }

    /// Parses the bytes of an event; its byte fields stay slices of them.
    ///
    /// # Errors
    /// [`DecodeError`], if this program cannot apply it.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let malformed = |field: &str| DecodeError::Malformed(format!("invalid {field}"));

        let message = proto::Event::decode(bytes)
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        let source = source(&message).ok_or_else(|| malformed("source"))?;
        let aggregate = match message.aggregate_id.as_ref() {
            [] => None,
            id => Some(Uuid::from_slice(id).map_err(|_| malformed("aggregate_id"))?),
        };
        let request = match message.request {
            None => None,
            Some(request) => Some(RequestMark {
                id: RequestId::from_slice(&request.id).map_err(|_| malformed("request.id"))?,
                hash: request.hash.as_ref().try_into().map_err(|_| malformed("request.hash"))?,
            }),
        };
        let post_id = match message.post_id.as_ref() {
            [] => None,
            id => Some(PostId::from_slice(id).map_err(|_| malformed("post_id"))?),
        };
        let time = message.time.as_ref().ok_or_else(|| malformed("time"))?;

        Ok(Self {
            id: EventId::from_slice(&message.id).map_err(|_| malformed("id"))?,
            source,
            sequence: Sequence(message.sequence),
            time: Time::try_from(time).map_err(|_| malformed("time"))?,
            actor: message.actor,
            request,
            site: message.site.parse().map_err(|_| malformed("site"))?,
            post_id,
            aggregate,
            traceparent: message.traceparent,
            kind: message.kind.ok_or(DecodeError::UnknownType { aggregate })?,
        })
    }

    /// Whose event it is and on which site, of any event whose envelope is valid: of a type
    /// that this program does not know, too.
    pub(crate) fn decode_place(bytes: Bytes) -> Result<(Source, Site), DecodeError> {
        let malformed = |field: &str| DecodeError::Malformed(format!("invalid {field}"));

        let message = proto::Event::decode(bytes)
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        Ok((
            source(&message).ok_or_else(|| malformed("source"))?,
            message.site.parse().map_err(|_| malformed("site"))?,
        ))
    }

    /// The last token of its subject, such as `created`.
    pub const fn subject_token(&self) -> &'static str {
        match self.kind {
            Kind::PostCreated(_) | Kind::CommentCreated(_) => "created",
            Kind::PostUpdated(_) | Kind::CommentUpdated(_) => "updated",
            Kind::PostDeleted(_) | Kind::CommentDeleted(_) => "deleted",
            Kind::PostClosed(_) => "closed",
            Kind::PostReopened(_) => "reopened",
            Kind::PolicySet(_) => "policy_set",
            Kind::RevisionDecided(_) => "decided",
        }
    }
}

fn source(message: &proto::Event) -> Option<Source> {
    Source::try_from(proto::Source::try_from(message.source).ok()?).ok()
}

/// Plain text as the content of an event.
pub fn plain(text: &str) -> proto::Content {
    proto::Content {
        data: Bytes::copy_from_slice(text.as_bytes()),
        key_id: String::new(),
        nonce: Bytes::new(),
    }
}
