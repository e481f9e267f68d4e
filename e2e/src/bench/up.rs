//! `agora up`, as a bench starts it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    Client, Process, Result, Role,
    client::{Addresses, token},
    process::{program, wait_until},
};

/// Everything in one process, in a data folder of its own.
pub struct Up {
    process: Process,
    data: PathBuf,
    /// Removed with it, if the data folder is its own.
    _folder: Option<TempDir>,
    run: serde_json::Value,
}

impl Up {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub async fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        let up = Self::start_in(folder.path()).await?;
        Ok(Self { _folder: Some(folder), ..up })
    }

    /// Starts it on a data folder, and waits until it listens.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub async fn start_in(folder: &Path) -> Result<Self> {
        let data = folder.to_str().ok_or("the data folder is not UTF-8")?;
        let arguments = [
            "up",
            "--data",
            data,
            "--listen",
            "127.0.0.1:0",
            "--http-listen",
            "127.0.0.1:0",
            "--nats-port",
            "0",
        ];
        let log = folder.join("up.log");
        let process = Process::start(&program("agora")?, &arguments, &[], &log)?;
        let run = serde_json::Value::Null;
        let mut up = Self { process, data: folder.to_owned(), _folder: None, run };
        up.listening().await?;
        Ok(up)
    }

    /// Stops it, removes its view if asked to, and starts it again; returns how long
    /// it took until it listened.
    ///
    /// # Errors
    /// If it does not stop or does not listen in time.
    pub async fn restart(&mut self, without_view: bool) -> Result<Duration> {
        self.stop().await?;
        if without_view {
            self.remove_view();
        }
        self.start_again().await
    }

    /// Stops it.
    ///
    /// # Errors
    /// If it does not stop in time.
    pub async fn stop(&mut self) -> Result {
        self.process.stop().await?;
        std::fs::remove_file(self.data().join("run.json")).ok();
        Ok(())
    }

    /// Removes its view, as long as it is stopped.
    pub fn remove_view(&self) {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(self.data().join(format!("view.db{suffix}"))).ok();
        }
    }

    /// Starts it after it was stopped; returns how long it took until it listened.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub async fn start_again(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.process.restart()?;
        self.listening().await?;
        Ok(started.elapsed())
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    async fn listening(&mut self) -> Result {
        let file = self.data().join("run.json");
        let waiting = wait_until("agora up", || async { file.is_file() }).await;
        waiting.map_err(|error| format!("{error}; it printed:\n{}", self.process.output()))?;
        self.run = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        Ok(())
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// An entry of its `run.json`.
    ///
    /// # Errors
    /// If there is none.
    pub fn run(&self, key: &str) -> Result<&str> {
        let value = self.run.get(key).and_then(serde_json::Value::as_str);
        Ok(value.ok_or_else(|| format!("run.json has no {key}"))?)
    }

    /// Where gRPC is, as `http://host:port`.
    ///
    /// # Errors
    /// If `run.json` does not say.
    pub fn url(&self) -> Result<String> {
        Ok(format!("http://{}", self.run("grpc")?))
    }

    /// A token for a user with a role on every site.
    ///
    /// # Errors
    /// If its key cannot be read.
    pub fn token(&self, user: &str, role: Role) -> Result<String> {
        token(&std::fs::read_to_string(self.run("key")?)?, user, role)
    }

    /// A caller with a role on every site.
    ///
    /// # Errors
    /// If its key cannot be read.
    pub fn client(&self, user: &str, role: Role) -> Result<Client> {
        Client::new(&self.addresses()?, Some(&self.token(user, role)?))
    }

    /// A caller without a token.
    ///
    /// # Errors
    /// If `run.json` does not say where gRPC is.
    pub fn reader(&self) -> Result<Client> {
        Client::new(&self.addresses()?, None)
    }

    fn addresses(&self) -> Result<Addresses> {
        let url = vec![self.url()?];
        Ok(Addresses {
            post: url.clone(),
            comment: url.clone(),
            moderation: url.clone(),
            query: url,
        })
    }

    /// How much of the process is in memory, in bytes.
    ///
    /// # Errors
    /// Where `/proc` does not tell.
    pub fn resident_bytes(&self) -> Result<u64> {
        let id = self.process.id().ok_or("agora up does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)).ok_or("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }
}
