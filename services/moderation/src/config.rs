use std::net::{Ipv4Addr, SocketAddr};

use chassis::config;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every setting of the moderation service. A variable is named
/// `AGORA_<SECTION>__<KEY>`, such as `AGORA_DATABASE__PATH`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens: 127.0.0.1:7403, HTTP on 7483.
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
    /// Its database: `moderation.db`.
    pub database: config::Database,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            server: config::Server {
                listen: local(7403),
                http_listen: local(7483),
                ..Default::default()
            },
            installation: config::Installation::default(),
            nats: config::Nats::default(),
            auth: config::Auth::default(),
            telemetry: config::Telemetry::default(),
            owners: config::Owners::default(),
            database: config::Database { path: "moderation.db".into(), ..Default::default() },
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
