use std::{fmt, str::FromStr};

use bytes::Bytes;

use crate::{DecodeError, Event, Site, Source};

/// Where an event is published: `agora.<source>.<site>.<event>`, for example
/// `agora.comment.blog.created`. One filter reads one site's whole history.
///
/// The post is not in it: nats-server keeps about 200 bytes of memory per distinct
/// subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    source: Source,
    site: Site,
    event: String,
}

/// A subject that is not one of Agora's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a subject of the form agora.<source>.<site>.<event>")]
pub struct InvalidSubject;

impl Subject {
    /// The subject of an event.
    pub fn of(event: &Event) -> Self {
        Self {
            source: event.source,
            site: event.site.clone(),
            event: event.subject_token().to_owned(),
        }
    }

    /// The subject of an encoded event of a type that this program does not know: its last
    /// token is `unknown`. Who has a journal publishes all of it, whatever newer program
    /// wrote it.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn of_unknown(bytes: Bytes) -> Result<Self, DecodeError> {
        let (source, site) = Event::decode_place(bytes)?;
        Ok(Self { source, site, event: "unknown".to_owned() })
    }

    /// The source that owns the event.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// The site that the event belongs to.
    pub const fn site(&self) -> &Site {
        &self.site
    }

    /// What happened, such as `created`.
    pub fn event(&self) -> &str {
        &self.event
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agora.{}.{}.{}", self.source, self.site, self.event)
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let mut tokens = text.split('.');
        let (Some("agora"), Some(source), Some(site), Some(event), None) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            return Err(InvalidSubject);
        };
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        if event.is_empty() || !event.bytes().all(allowed) {
            return Err(InvalidSubject);
        }
        Ok(Self {
            source: source.parse().map_err(|_| InvalidSubject)?,
            site: site.parse().map_err(|_| InvalidSubject)?,
            event: event.to_owned(),
        })
    }
}
