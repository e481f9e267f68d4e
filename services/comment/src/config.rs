use std::net::{Ipv4Addr, SocketAddr};

use chassis::config;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every setting of the comment service. A variable is named
/// `AGORA_<SECTION>__<KEY>`, such as `AGORA_DATABASE__PATH`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens: 127.0.0.1:7402, HTTP on 7482.
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
    /// Its database: `comment.db`.
    pub database: config::Database,
    /// Who is asked for a post that was not heard of yet.
    pub post_service: PostService,
}

/// `[post_service]`: where the post service is.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostService {
    /// Its address, such as `http://127.0.0.1:7401`.
    pub url: String,
    /// How long its answer is waited for.
    pub timeout_ms: u64,
}

impl Default for PostService {
    fn default() -> Self {
        Self { url: "http://127.0.0.1:7401".into(), timeout_ms: 500 }
    }
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            server: config::Server {
                listen: local(7402),
                http_listen: local(7482),
                ..Default::default()
            },
            installation: config::Installation::default(),
            nats: config::Nats::default(),
            auth: config::Auth::default(),
            telemetry: config::Telemetry::default(),
            owners: config::Owners::default(),
            database: config::Database { path: "comment.db".into(), ..Default::default() },
            post_service: PostService::default(),
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
