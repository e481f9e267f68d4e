use std::net::SocketAddr;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Addresses, Health, RunError, grpc::Server, signals::Signals, tasks::Tasks};

/// A process that runs. It shuts down when this is dropped.
pub struct Running {
    addresses: Addresses,
    stop: DropGuard,
    end: JoinHandle<Result<(), RunError>>,
}

/// What runs.
pub(super) struct Parts {
    pub(super) addresses: Addresses,
    pub(super) server: Server,
    pub(super) health: Health,
    pub(super) tasks: Tasks,
    /// Ends the servers for requests, and tasks.
    pub(super) shutdown: CancellationToken,
    /// Ends what answers until the very end.
    pub(super) ended: CancellationToken,
}

impl Running {
    pub(super) fn start(parts: Parts) -> Self {
        let addresses = parts.addresses;
        let stop = CancellationToken::new();
        let end = tokio::spawn(parts.run(stop.clone()));
        Self { addresses, stop: stop.drop_guard(), end }
    }

    /// Where gRPC listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// Where plain HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.addresses.http
    }

    /// Shuts down and waits for the end.
    ///
    /// # Errors
    /// [`RunError::Task`] if a task failed.
    pub async fn stop(self) -> Result<(), RunError> {
        self.stop.disarm().cancel();
        joined(self.end.await)
    }

    /// Waits for a signal (SIGTERM, SIGINT) or for a task that fails, and shuts down. A
    /// second signal ends it at once.
    ///
    /// # Errors
    /// [`RunError`] if a task failed, or if a second signal came.
    pub async fn wait(self) -> Result<(), RunError> {
        let signals = Signals::new().map_err(RunError::Signals)?;
        self.wait_for(signals).await
    }

    /// As [`Self::wait`], for signals that were caught before, too.
    pub(crate) async fn wait_for(mut self, mut signals: Signals) -> Result<(), RunError> {
        tokio::select! {
            end = &mut self.end => return joined(end),
            signal = signals.next() => tracing::info!(signal, "shutting down"),
        }
        self.stop.disarm().cancel();
        tokio::select! {
            end = self.end => joined(end),
            _ = signals.next() => Err(RunError::Interrupted),
        }
    }
}

fn joined(end: Result<Result<(), RunError>, tokio::task::JoinError>) -> Result<(), RunError> {
    end.unwrap_or_else(|error| {
        Err(RunError::Task { task: "the process".into(), source: error.into() })
    })
}

impl Parts {
    /// Runs until it is told to stop or a task fails, and then shuts down.
    async fn run(mut self, stop: CancellationToken) -> Result<(), RunError> {
        self.health.set_ready(true, "serving");
        let mut serving = tokio::spawn(self.server.run(self.shutdown.clone()));
        let failed = tokio::select! {
            () = stop.cancelled() => Ok(()),
            error = self.tasks.failure() => {
                tracing::error!(error = %crate::error::chain(&error), "shutting down");
                Err(error)
            }
            _ = &mut serving => Ok(()),
        };
        self.health.end("shutting down");
        self.shutdown.cancel();
        // It owns the services: the queues that they send to close when it has ended.
        if !serving.is_finished() {
            serving.await.ok();
        }
        self.ended.cancel();
        failed.and(self.tasks.end().await)
    }
}
