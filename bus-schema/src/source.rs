use std::{fmt, str::FromStr};

use agora_proto::event::v1 as proto;

/// A service that owns events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The post service.
    Post,
    /// The comment service.
    Comment,
    /// The moderation service.
    Moderation,
}

/// A name or number that is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a source: post, comment or moderation")]
pub struct UnknownSource;

impl Source {
    /// Every source.
    pub const ALL: [Self; 3] = [Self::Post, Self::Comment, Self::Moderation];

    /// Its name in subjects, positions, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Comment => "comment",
            Self::Moderation => "moderation",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        Self::ALL.into_iter().find(|source| source.as_str() == text).ok_or(UnknownSource)
    }
}

impl From<Source> for proto::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Post => Self::Post,
            Source::Comment => Self::Comment,
            Source::Moderation => Self::Moderation,
        }
    }
}

impl TryFrom<proto::Source> for Source {
    type Error = UnknownSource;

    fn try_from(source: proto::Source) -> Result<Self, UnknownSource> {
        match source {
            proto::Source::Post => Ok(Self::Post),
            proto::Source::Comment => Ok(Self::Comment),
            proto::Source::Moderation => Ok(Self::Moderation),
            proto::Source::Unspecified => Err(UnknownSource),
        }
    }
}
