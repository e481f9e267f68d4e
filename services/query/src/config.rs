use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use chassis::config::{self, Secret};
use eventstore::database::OpenError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every setting of the query service. A variable is named
/// `AGORA_<SECTION>__<KEY>`, such as `AGORA_DATABASE__PATH`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens: 127.0.0.1:7404, HTTP on 7484.
    pub server: config::Server,
    /// Which Agora it belongs to.
    pub installation: config::Installation,
    /// The bus.
    pub nats: config::Nats,
    /// Whose tokens are believed.
    pub auth: config::Auth,
    /// Logs and traces.
    pub telemetry: config::Telemetry,
    /// Who is asked where a stream is not what it was.
    pub owners: config::Owners,
    /// Its view: `view.db`, with its dead letters in a file beside it.
    pub database: config::View,
    /// Who is asked while the view is missing or too far behind.
    pub fallback: Fallback,
    /// Who has a view that a new replica can start from.
    pub snapshot: Snapshot,
}

/// `[snapshot]`: the other replicas, one of which gives a new replica its view.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshot {
    /// Where they are, such as `http://agora-query-headless:7404`: all addresses that the name
    /// has, this replica's own left out. Absent means that every view is made from the
    /// streams.
    pub peers: Option<String>,
    /// A file with an access token of an operator on every site.
    pub token_file: Option<PathBuf>,
}

/// `[fallback]`: the databases of the services that own posts and comments, which are read
/// while the view is missing or too far behind. Either both are named, or none.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// The post service's database.
    pub post: Owner,
    /// The comment service's database.
    pub comment: Owner,
    /// How long the view may lack what an owner had, in milliseconds.
    pub after_ms: u64,
}

/// Where an owner's database is: a SQLite file on this machine, or a PostgreSQL database.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Owner {
    /// The SQLite file, which this user may write: SQLite readers share memory with writers.
    pub path: Option<PathBuf>,
    /// The PostgreSQL database, for a role that may SELECT from the views for others.
    pub url: Option<Secret>,
}

/// Why the owners cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum FallbackError {
    /// A setting is missing, or one too many.
    #[error("fallback.{0}: {1}")]
    Setting(&'static str, &'static str),
    /// An address is none.
    #[error("fallback")]
    Open(#[from] OpenError),
}

/// Where an owner's database is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'c> {
    File(&'c Path),
    Server(&'c Secret),
}

impl Owner {
    fn place(&self, name: &'static str) -> Result<Option<Place<'_>>, FallbackError> {
        match (&self.path, &self.url) {
            (None, None) => Ok(None),
            (Some(path), None) => Ok(Some(Place::File(path))),
            (None, Some(url)) => Ok(Some(Place::Server(url))),
            (Some(_), Some(_)) => {
                Err(FallbackError::Setting(name, "path and url are set: name one of them"))
            }
        }
    }
}

impl Fallback {
    /// Where the databases are, if they are named.
    pub(crate) fn places(&self) -> Result<Option<(Place<'_>, Place<'_>)>, FallbackError> {
        match (self.post.place("post")?, self.comment.place("comment")?) {
            (None, None) => Ok(None),
            (Some(post), Some(comment)) => Ok(Some((post, comment))),
            (None, Some(_)) => Err(FallbackError::Setting("post", "must be named, too")),
            (Some(_), None) => Err(FallbackError::Setting("comment", "must be named, too")),
        }
    }
}

impl Default for Fallback {
    fn default() -> Self {
        Self { post: Owner::default(), comment: Owner::default(), after_ms: 5_000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            server: config::Server {
                listen: local(7404),
                http_listen: local(7484),
                ..Default::default()
            },
            installation: config::Installation::default(),
            nats: config::Nats::default(),
            auth: config::Auth::default(),
            telemetry: config::Telemetry::default(),
            owners: config::Owners::default(),
            database: config::View::default(),
            fallback: Fallback::default(),
            snapshot: Snapshot::default(),
        }
    }
}

impl Config {
    /// What the host needs of it.
    pub fn host(&self) -> config::Host {
        config::Host {
            server: self.server.clone(),
            installation: self.installation.clone(),
            nats: self.nats.clone(),
            auth: self.auth.clone(),
            telemetry: self.telemetry.clone(),
        }
    }
}
