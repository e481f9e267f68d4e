use crate::Source;

/// The JetStream stream of a source, with every limit stated: file storage, limits
/// retention without an age, discard new, deny delete and purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Whose events it holds.
    pub source: Source,
    /// `AGORA_POST`, `AGORA_COMMENT` or `AGORA_MODERATION`.
    pub name: &'static str,
    /// Every subject of the source.
    pub subject: &'static str,
    /// 1 for an embedded server, 3 in a cluster.
    pub replicas: usize,
    /// Bytes; -1 for as many as the disk takes. A full stream refuses new messages:
    /// the journal keeps them until there is room.
    pub max_bytes: i64,
    /// Bytes of one message with its headers: the largest event, that of a post with
    /// 64 KiB of body or of a policy with its word lists, fits with room to spare.
    pub max_message_size: i32,
}

impl Stream {
    /// A message carries the hash of its event here, as 64 hexadecimal digits.
    pub const HASH_HEADER: &'static str = "Agora-Hash";
    /// A stream's metadata carries the name of the installation that it belongs to here.
    pub const INSTALLATION_KEY: &'static str = "agora-installation";
    /// A message carries its W3C trace context here.
    pub const TRACE_HEADER: &'static str = "traceparent";

    /// The stream of a source.
    pub const fn of(source: Source, replicas: usize, max_bytes: i64) -> Self {
        let (name, subject) = match source {
            Source::Post => ("AGORA_POST", "agora.post.>"),
            Source::Comment => ("AGORA_COMMENT", "agora.comment.>"),
            Source::Moderation => ("AGORA_MODERATION", "agora.moderation.>"),
        };
        Self { source, name, subject, replicas, max_bytes, max_message_size: 2 * 1024 * 1024 }
    }
}
