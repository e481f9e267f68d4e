use std::{io, net::SocketAddr, path::PathBuf};

use super::nats::NatsError;
use crate::{
    auth::{MethodsError, token::KeyError},
    config::{ConfigError, InstallationError},
    keys::KeysError,
    telemetry::TelemetryError,
};

/// Why a process does not start: one line, with its causes, that says what and what to
/// do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting cannot be used.
    #[error("wrong setting {key}: {what}")]
    Setting {
        /// Its path, such as `server.cors_origins`.
        key: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The process does not know which installation it belongs to.
    #[error(transparent)]
    Installation(#[from] InstallationError),
    /// Telemetry cannot be started.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; choose another address by {setting}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting and the variable that choose it.
        setting: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Without keys only processes of the same machine may call.
    #[error(
        "no auth.public_keys (AGORA_AUTH__PUBLIC_KEYS) are configured, and {0} is not a loopback \
         address: configure keys, or listen on 127.0.0.1"
    )]
    NoPublicKeys(SocketAddr),
    /// A public key cannot be used.
    #[error("cannot use the public key {path} of auth.public_keys")]
    PublicKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The service's secret cannot be had.
    #[error(transparent)]
    Secret(#[from] KeysError),
    /// A service whose database is in a server was given no secret.
    #[error(
        "server.secret (AGORA_SERVER__SECRET) is needed with database.url: at least {} characters, \
         the same for every replica",
        crate::Keys::MIN_SECRET
    )]
    NoSecret,
    /// NATS cannot be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// A service cannot be served.
    #[error(transparent)]
    Methods(#[from] MethodsError),
    /// Something that a service needs is not there.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a process ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task failed.
    #[error("{task} failed")]
    Task {
        /// The task.
        task: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A second signal came before the shutdown was done.
    #[error("ended at once by a second signal")]
    Interrupted,
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}
