use std::{convert::Infallible, future::Future, panic::AssertUnwindSafe, thread, time::Duration};

use futures::FutureExt as _;
use tokio::{runtime::Handle, sync::oneshot, task::JoinSet, time::timeout};

use super::RunError;

/// How long tasks may take to end at shutdown.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// The tasks of a process.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<(String, Result<(), BoxError>)>,
    names: Vec<String>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Tasks {
    pub(super) fn spawn<F, E>(&mut self, name: &str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let name = name.to_owned();
        self.names.push(name.clone());
        self.running.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            let outcome = match outcome {
                Ok(outcome) => outcome.map_err(Into::into),
                Err(_) => Err("it panicked".into()),
            };
            (name, outcome)
        });
    }

    pub(super) fn spawn_thread<F, E>(&mut self, name: &str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let (ended, outcome) = oneshot::channel();
        let runtime = Handle::current();
        let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
            ended.send(runtime.block_on(task).map_err(Into::into)).ok();
        });
        self.spawn(name, async move {
            started.map_err(BoxError::from)?;
            // A thread that panics drops its end.
            outcome.await.map_err(|_| BoxError::from("it panicked"))?
        });
    }

    /// Waits until a task fails; those that end well are forgotten.
    pub(super) async fn failure(&mut self) -> RunError {
        loop {
            if let Err(error) = self.ended().await {
                return error;
            }
        }
    }

    /// Waits for the next task to end; for ever if there is none.
    async fn ended(&mut self) -> Result<(), RunError> {
        let Some(ended) = self.running.join_next().await else {
            let never: Infallible = std::future::pending().await;
            match never {}
        };
        // Tasks catch their panics, and nobody aborts them before the end.
        let Ok((name, outcome)) = ended else { return Ok(()) };
        if let Some(index) = self.names.iter().position(|running| *running == name) {
            self.names.swap_remove(index);
        }
        outcome.map_err(|source| RunError::Task { task: name, source })
    }

    /// Waits for all tasks to end, [`END_TIMEOUT`] at most, and returns the first
    /// failure.
    pub(super) async fn end(mut self) -> Result<(), RunError> {
        let mut first = Ok(());
        let all = async {
            while !self.running.is_empty() {
                let outcome = self.ended().await;
                if first.is_ok() {
                    first = outcome;
                }
            }
        };
        if timeout(END_TIMEOUT, all).await.is_err() {
            tracing::warn!(tasks = ?self.names, "tasks did not end in time");
        }
        first
    }
}
