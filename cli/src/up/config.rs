//! The configuration of `agora up`.

use std::path::PathBuf;

use chassis::config;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{error::Error, folder::Folder};

use super::data;

/// Where the embedded NATS server listens.
const NATS_PORT: u16 = 7_422;

/// Everything that can be set for `agora up`, in TOML and in the environment.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: config::Server,
    pub installation: config::Installation,
    pub nats: Nats,
    pub auth: config::Auth,
    pub telemetry: config::Telemetry,
}

/// `[nats]`: a server of one's own, or another.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nats {
    /// A running NATS server; absent means one that `agora up` starts and stops.
    pub url: Option<String>,
    /// Where the one that `agora up` starts listens, on loopback. 0 takes any free port.
    pub port: u16,
    /// Replicas of each stream, for a server that is a cluster.
    pub replicas: usize,
    /// Bytes that a stream holds at most; -1 for as many as the disk takes.
    pub max_bytes: i64,
    /// A `.creds` file to log in with.
    pub credentials_file: Option<PathBuf>,
    /// A user to log in as, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<config::Secret>,
    /// A PEM file with the certificates of the CA that signs the server's certificate, for a
    /// CA of one's own.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the certificate that the server is shown (mutual TLS), with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// A PEM file with the private key of `cert_file`.
    pub key_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: config::Server::default(),
            installation: config::Installation::default(),
            nats: Nats::default(),
            auth: config::Auth::default(),
            telemetry: config::Telemetry {
                // The chassis says itself when NATS comes and goes.
                log: "info,async_nats=warn".into(),
                ..config::Telemetry::default()
            },
        }
    }
}

impl Default for Nats {
    fn default() -> Self {
        let usual = config::Nats::default();
        Self {
            url: None,
            port: NATS_PORT,
            replicas: usual.replicas,
            max_bytes: usual.max_bytes,
            credentials_file: None,
            user: None,
            password: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

impl Nats {
    /// The server that `agora up` starts speaks no TLS: files for it would have the services
    /// never reach it.
    pub fn check(&self) -> Result<(), Error> {
        let has_files =
            [&self.ca_file, &self.cert_file, &self.key_file].into_iter().any(Option::is_some);
        if has_files && self.url.is_none() {
            return Err(Error::plain(
                "nats.ca_file, nats.cert_file and nats.key_file are for a NATS server of your own: \
                 name it with nats.url or --nats-url",
            ));
        }
        Ok(())
    }
}

impl Config {
    /// What the services' host needs to know, with NATS at `url`.
    pub fn host(&self, folder: &Folder, url: String) -> config::Host {
        let mut auth = self.auth.clone();
        auth.public_keys.push(folder.file(data::PUBLIC_KEY));
        config::Host {
            server: self.server.clone(),
            installation: self.installation.clone(),
            nats: config::Nats {
                url,
                replicas: self.nats.replicas,
                max_bytes: self.nats.max_bytes,
                // The embedded server is this installation's alone.
                refill_streams: self.nats.url.is_none(),
                credentials_file: self.nats.credentials_file.clone(),
                user: self.nats.user.clone(),
                password: self.nats.password.clone(),
                ca_file: self.nats.ca_file.clone(),
                cert_file: self.nats.cert_file.clone(),
                key_file: self.nats.key_file.clone(),
            },
            auth,
            telemetry: self.telemetry.clone(),
        }
    }
}
