use std::net::{Ipv4Addr, SocketAddr};

use chassis::config;
use serde::{Deserialize, Serialize};

/// Every setting of the query service. A variable is named
/// `AGORA_<SECTION>__<KEY>`, such as `AGORA_DATABASE__PATH`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens: 127.0.0.1:7404, HTTP on 7484.
    pub server: config::Server,
    /// The bus.
    pub nats: config::Nats,
    /// Whose tokens are believed.
    pub auth: config::Auth,
    /// Logs and traces.
    pub telemetry: config::Telemetry,
    /// Its view: `view.db`, with its dead letters in a file beside it.
    pub database: config::View,
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
            nats: config::Nats::default(),
            auth: config::Auth::default(),
            telemetry: config::Telemetry::default(),
            database: config::View::default(),
        }
    }
}

impl Config {
    /// What the host needs of it.
    pub fn host(&self) -> config::Host {
        config::Host {
            server: self.server.clone(),
            nats: self.nats.clone(),
            auth: self.auth.clone(),
            telemetry: self.telemetry.clone(),
        }
    }
}
