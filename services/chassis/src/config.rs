//! Layered configuration: defaults < TOML file < environment (`AGORA_…`) < flags.
//! Unknown keys are errors.
//!
//! A variable is named `AGORA_<SECTION>__<KEY>`, with two underscores; a list is
//! written `["a", "b"]`. Variables without two underscores are none of these.

mod installation;
mod layers;
mod secret;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use bus_schema::Source;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use installation::{Installation, InstallationError};
pub use layers::{ConfigError, load, print};
pub use secret::Secret;

/// What a [`crate::Host`] needs to know.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Where it listens and how much it takes.
    pub server: Server,
    /// Which Agora it is.
    pub installation: Installation,
    /// The bus.
    pub nats: Nats,
    /// Whose tokens are believed.
    pub auth: Auth,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

/// `[server]`: where a process listens and how much it takes.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// gRPC and gRPC-Web. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`. Port 0 takes any free one.
    pub http_listen: SocketAddr,
    /// How long a request may take, streams aside; a caller may ask for less.
    pub request_timeout_ms: u64,
    /// How many bytes a request's message may have.
    pub max_request_bytes: usize,
    /// How many requests are worked on at the same time in this process; more are
    /// refused.
    pub max_in_flight: usize,
    /// Origins whose pages may call over gRPC-Web, such as `https://example.org`.
    pub cors_origins: Vec<String>,
    /// Names besides localhost that callers may call a server on loopback by.
    pub allowed_hosts: Vec<String>,
    /// How long a connection may be silent before it is asked for a sign of life.
    pub keepalive_interval_ms: u64,
    /// How long that sign may take.
    pub keepalive_timeout_ms: u64,
    /// After this time a connection is ended, gently, so that callers spread over
    /// replicas. 0 means never.
    pub max_connection_age_ms: u64,
    /// How long open requests may take to end at shutdown.
    pub drain_timeout_ms: u64,
    /// What page tokens are sealed with and requests are hashed with, at least 32
    /// characters; the same for every replica. Absent means one that is made and kept
    /// in the data folder; with `database.url` there is none, and it must be set.
    pub secret: Option<Secret>,
}

/// `[nats]`: the bus.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nats {
    /// Where NATS is, such as `nats://127.0.0.1:4222`; of a cluster the addresses of several
    /// servers, separated by commas.
    pub url: String,
    /// Replicas of each stream: 1 embedded, 3 in a cluster.
    pub replicas: usize,
    /// Bytes that a stream holds at most; -1 for as many as the disk takes.
    pub max_bytes: i64,
    /// Whether a stream that is damaged is deleted and filled again from the journal, once
    /// the journal was proven to hold all that the stream can still show. For a NATS server
    /// that belongs to this installation alone.
    pub refill_streams: bool,
    /// A `.creds` file to log in with.
    pub credentials_file: Option<PathBuf>,
    /// A user to log in as, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A PEM file with the certificates of the CA that signs the servers' certificates, for a
    /// CA of one's own; absent means those that the machine trusts. This file,
    /// `cert_file` and `key_file` are read again at each connection, and have the connection use
    /// TLS or none at all.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the certificate that the servers are shown where they ask for one
    /// (mutual TLS), and those that it is signed by. It belongs together with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// A PEM file with the private key of `cert_file`.
    pub key_file: Option<PathBuf>,
}

/// `[owners]`: the services that own events, which consumers ask for their journals where a
/// stream is damaged, or not what was applied. Those of the same process need not be named.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Owners {
    /// The post service, such as `http://127.0.0.1:7401`.
    pub post_url: Option<String>,
    /// The comment service.
    pub comment_url: Option<String>,
    /// The moderation service.
    pub moderation_url: Option<String>,
    /// A file with an access token of an operator on every site, as `agora token` prints it.
    /// It is read whenever it is used, so that it can be replaced before it expires.
    pub token_file: Option<PathBuf>,
}

impl Owners {
    /// Where each source's owner is, if that is set.
    pub fn urls(&self) -> [(Source, Option<&String>); 3] {
        [
            (Source::Post, self.post_url.as_ref()),
            (Source::Comment, self.comment_url.as_ref()),
            (Source::Moderation, self.moderation_url.as_ref()),
        ]
    }
}

/// `[auth]`: whose tokens are believed.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// PEM files with Ed25519 public keys; a token verifies with any of them.
    pub public_keys: Vec<PathBuf>,
    /// By how much clocks may differ.
    pub leeway_s: u64,
}

/// `[telemetry]`: logs and traces.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// What is logged, such as `info,chassis=debug`.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Where traces go, by OTLP over gRPC, such as `http://127.0.0.1:4317` or
    /// `https://collector.example.org:4317`. Absent means that there are none. One that cannot
    /// be used is a warning in the log, and the program runs without traces.
    pub otlp_endpoint: Option<String>,
    /// A PEM file with the certificate authorities that an `https` endpoint is trusted by.
    /// Absent means the public ones, by Mozilla's list.
    pub otlp_ca_file: Option<PathBuf>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `human` on a terminal, else `json`.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// `[database]`: the database of a service that owns events: a SQLite file, or a
/// PostgreSQL database if `url` is set.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// The SQLite file.
    pub path: PathBuf,
    /// A PostgreSQL database, such as `postgres://user:password@host:5432/database`, which
    /// no other service uses. `sslmode=verify-full` and `sslrootcert` secure the way to it.
    pub url: Option<Secret>,
    /// How many connections read at the same time.
    pub readers: u32,
    /// How long a service that starts waits for a PostgreSQL server that cannot be reached, or
    /// takes no connections yet. 0 means not at all.
    pub start_timeout_ms: u64,
}

/// `[database]` of the query service: its view, always in a SQLite file.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct View {
    /// The SQLite file.
    pub path: PathBuf,
    /// How many connections read at the same time.
    pub readers: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 7400).into(),
            http_listen: (Ipv4Addr::LOCALHOST, 7480).into(),
            request_timeout_ms: 10_000,
            max_request_bytes: 1024 * 1024,
            max_in_flight: 2_048,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            keepalive_interval_ms: 30_000,
            keepalive_timeout_ms: 10_000,
            max_connection_age_ms: 0,
            drain_timeout_ms: 10_000,
            secret: None,
        }
    }
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            replicas: 1,
            max_bytes: -1,
            refill_streams: false,
            credentials_file: None,
            user: None,
            password: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

/// The addresses of the servers in [`Nats::url`].
pub fn nats_servers(url: &str) -> Vec<&str> {
    url.split(',').map(str::trim).filter(|server| !server.is_empty()).collect()
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            issuer: "agora".into(),
            audience: "agora".into(),
            public_keys: Vec::new(),
            leeway_s: 30,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log: "info,async_nats=warn".into(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            otlp_ca_file: None,
        }
    }
}

impl Database {
    /// The folder that the database is in; what belongs to it stands beside it. None if it
    /// is in a server.
    pub fn folder(&self) -> Option<&Path> {
        self.url.is_none().then(|| folder(&self.path))
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { path: "agora.db".into(), url: None, readers: 4, start_timeout_ms: 60_000 }
    }
}

impl View {
    /// The folder that the view is in; what belongs to it stands beside it.
    pub fn folder(&self) -> &Path {
        folder(&self.path)
    }
}

impl Default for View {
    fn default() -> Self {
        Self { path: "view.db".into(), readers: 4 }
    }
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}
