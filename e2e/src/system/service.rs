//! What a system consists of.

use std::fmt;

use bus_schema::Source;

/// A service of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The post service.
    Post,
    /// The comment service.
    Comment,
    /// The moderation service.
    Moderation,
    /// The query service.
    Query,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 4] = [Self::Post, Self::Comment, Self::Moderation, Self::Query];
    /// Those that own events.
    pub const OWNERS: [Self; 3] = [Self::Post, Self::Comment, Self::Moderation];

    /// Who owns the events of a source.
    pub const fn of(source: Source) -> Self {
        match source {
            Source::Post => Self::Post,
            Source::Comment => Self::Comment,
            Source::Moderation => Self::Moderation,
        }
    }

    /// Whose events it applies.
    pub const fn consumes(self) -> &'static [Source] {
        match self {
            Self::Post => &[],
            Self::Comment => &[Source::Post, Source::Moderation],
            Self::Moderation => &[Source::Post, Source::Comment],
            Self::Query => &Source::ALL,
        }
    }

    /// Its name as `agora serve` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Comment => "comment",
            Self::Moderation => "moderation",
            Self::Query => "query",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the services keep what they own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Databases {
    /// In a SQLite file each.
    Files,
    /// In a PostgreSQL database each, which so many replicas of each service share. The
    /// query service has as many, each with a view of its own.
    Postgres {
        /// At least 1.
        replicas: usize,
    },
}

/// A file system that something of a system is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disk {
    /// With the SQLite files of a service.
    Service(Service),
    /// With the streams.
    Nats,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "{service}"),
            Self::Nats => write!(f, "NATS"),
        }
    }
}
