use std::path::{Path, PathBuf};

use tokio::net::TcpStream;

use crate::{Process, Result, free_port, wait_until};

/// A nats-server with JetStream on a port of its own, or a cluster of them. All keep their
/// ports and files when they are killed and started again.
pub struct Nats {
    nodes: Vec<Node>,
}

/// One server.
pub struct Node {
    process: Process,
    port: u16,
    store: PathBuf,
}

impl Nats {
    /// Starts `AGORA_NATS_SERVER`, or the `nats-server` on the PATH.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start(folder: &Path) -> Result<Self> {
        let node = Node::start(folder, "nats", &[])?;
        node.ready().await?;
        Ok(Self { nodes: vec![node] })
    }

    /// Starts so many of them as a cluster.
    ///
    /// # Errors
    /// If they cannot be started.
    pub async fn start_cluster(folder: &Path, servers: usize) -> Result<Self> {
        let ports: Vec<u16> = (0..servers).map(|_| free_port()).collect::<Result<_>>()?;
        let addresses: Vec<String> =
            ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let routes = addresses.join(",");
        let mut nodes = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let name = format!("nats-{number}");
            let options = [
                ["--name", &name],
                ["--cluster_name", "agora"],
                ["--cluster", address],
                ["--routes", &routes],
            ];
            // Clients know the addresses that they were told, and no others: these may be
            // of proxies.
            let options = [options.as_flattened(), &["--no_advertise"]].concat();
            nodes.push(Node::start(folder, &name, &options)?);
        }
        let nats = Self { nodes };
        nats.ready().await?;
        Ok(nats)
    }

    /// Where it listens: the addresses of all servers.
    pub fn url(&self) -> String {
        let urls = self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.port));
        urls.collect::<Vec<_>>().join(",")
    }

    /// A connection to any of the servers.
    ///
    /// # Errors
    /// If none can be reached.
    pub async fn connect(&self) -> Result<async_nats::Client> {
        Ok(async_nats::connect(chassis::config::nats_servers(&self.url())).await?)
    }

    /// The ports that its servers listen on.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// One of the servers.
    pub fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number]
    }

    /// Kills all servers with SIGKILL.
    ///
    /// # Errors
    /// If one cannot be killed.
    pub async fn kill(&mut self) -> Result {
        for node in &mut self.nodes {
            node.kill().await?;
        }
        Ok(())
    }

    /// Stops all servers (SIGTERM): they write down what their streams hold.
    ///
    /// # Errors
    /// If one does not stop in time.
    pub async fn stop(&mut self) -> Result {
        for node in &mut self.nodes {
            node.stop().await?;
        }
        Ok(())
    }

    /// Starts all servers again, on the same ports and files.
    ///
    /// # Errors
    /// If one cannot be started.
    pub async fn restart(&mut self) -> Result {
        for node in &mut self.nodes {
            node.process.restart()?;
        }
        self.ready().await
    }

    async fn ready(&self) -> Result {
        for node in &self.nodes {
            node.ready().await?;
        }
        Ok(())
    }

    /// What its servers have printed.
    pub fn output(&self) -> String {
        self.nodes.iter().map(|node| node.process.output()).collect()
    }
}

impl Node {
    fn start(folder: &Path, name: &str, options: &[&str]) -> Result<Self> {
        let program = std::env::var("AGORA_NATS_SERVER").unwrap_or("nats-server".into());
        let port = free_port()?;
        let port_text = port.to_string();
        let store = folder.join(name);
        let store_text = store.to_str().ok_or("the test's folder is not UTF-8")?;
        let arguments = ["-js", "-a", "127.0.0.1", "-p", &port_text, "-sd", store_text];
        let arguments = [&arguments, options].concat();
        let log = folder.join(format!("{name}.log"));
        let process = Process::start(Path::new(&program), &arguments, &[], &log)?;
        Ok(Self { process, port, store })
    }

    /// The folder of its files.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self) -> Result {
        self.process.kill().await
    }

    /// Stops it (SIGTERM).
    ///
    /// # Errors
    /// If it does not stop in time.
    pub async fn stop(&mut self) -> Result {
        self.process.stop().await.map(drop)
    }

    /// Pauses it (SIGSTOP).
    ///
    /// # Errors
    /// If it does not run.
    pub async fn pause(&self) -> Result {
        self.process.pause().await
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Errors
    /// If it does not run.
    pub async fn resume(&self) -> Result {
        self.process.resume().await
    }

    /// Starts it again, on the same port and files.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn restart(&mut self) -> Result {
        self.process.restart()?;
        self.ready().await
    }

    async fn ready(&self) -> Result {
        let address = ("127.0.0.1", self.port);
        wait_until("nats-server", || async move { TcpStream::connect(address).await.is_ok() }).await
    }
}
