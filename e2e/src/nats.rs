use std::path::Path;

use tokio::net::TcpStream;

use crate::{Process, Result, free_port, wait_until};

/// A nats-server with JetStream on a port of its own, which it keeps when it is killed
/// and started again.
pub struct Nats {
    process: Process,
    port: u16,
}

impl Nats {
    /// Starts `AGORA_NATS_SERVER`, or the `nats-server` on the PATH.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start(folder: &Path) -> Result<Self> {
        let program = std::env::var("AGORA_NATS_SERVER").unwrap_or("nats-server".into());
        let port = free_port()?;
        let port_text = port.to_string();
        let store = folder.join("nats");
        let store = store.to_str().ok_or("the test's folder is not UTF-8")?;
        let arguments = ["-js", "-a", "127.0.0.1", "-p", &port_text, "-sd", store];
        let log = folder.join("nats.log");
        let process = Process::start(Path::new(&program), &arguments, &[], &log)?;
        let nats = Self { process, port };
        nats.ready().await?;
        Ok(nats)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self) -> Result {
        self.process.kill().await
    }

    /// Stops it (SIGTERM): it writes down what its streams hold.
    ///
    /// # Errors
    /// If it does not stop in time.
    pub async fn stop(&mut self) -> Result {
        self.process.stop().await.map(drop)
    }

    /// Starts it again, on the same port and files.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn restart(&mut self) -> Result {
        self.process.restart()?;
        self.ready().await
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    async fn ready(&self) -> Result {
        let address = ("127.0.0.1", self.port);
        wait_until("nats-server", || async move { TcpStream::connect(address).await.is_ok() }).await
    }
}
