use std::path::{Path, PathBuf};

use tokio::net::TcpStream;

use crate::{Process, Proxy, Result, free_port, wait_until};

/// Where nobody listens: servers of a cluster reach each other by the routes that they were
/// given, and by none that they tell each other of.
const NOWHERE: &str = "127.0.0.1:1";

/// A nats-server with JetStream on a port of its own, or a cluster of them. All keep their
/// ports and files when they are killed and started again.
pub struct Nats {
    nodes: Vec<Node>,
    /// What the servers of a cluster reach each other through.
    routes: Vec<Route>,
    /// The one that the others do not reach.
    cut_off: Option<usize>,
}

/// The way from one server to another.
struct Route {
    from: usize,
    to: usize,
    proxy: Proxy,
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
        Ok(Self { nodes: vec![node], routes: Vec::new(), cut_off: None })
    }

    /// Starts so many of them as a cluster.
    ///
    /// # Errors
    /// If they cannot be started.
    pub async fn start_cluster(folder: &Path, servers: usize) -> Result<Self> {
        let ports: Vec<u16> = (0..servers).map(|_| free_port()).collect::<Result<_>>()?;
        let mut routes = Vec::new();
        for (from, to) in (0..servers).flat_map(|from| (0..servers).map(move |to| (from, to))) {
            if from != to {
                routes.push(Route { from, to, proxy: Proxy::start(ports[to]).await? });
            }
        }
        let address = |port| format!("nats://127.0.0.1:{port}");
        let mut nodes = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let name = format!("nats-{number}");
            let own = routes.iter().filter(|route| route.from == number);
            let own: Vec<String> = own.map(|route| address(route.proxy.port())).collect();
            let options = [
                ["--name", &name],
                ["--cluster_name", "agora"],
                ["--cluster", &address(*port)],
                ["--cluster_advertise", NOWHERE],
                ["--routes", &own.join(",")],
            ];
            // Clients know the addresses that they were told, and no others: these may be
            // of proxies.
            let options = [options.as_flattened(), &["--no_advertise"]].concat();
            nodes.push(Node::start(folder, &name, &options)?);
        }
        let nats = Self { nodes, routes, cut_off: None };
        nats.ready().await?;
        Ok(nats)
    }

    /// Where it listens: the addresses of all servers that are not cut off.
    pub fn url(&self) -> String {
        let nodes = self.nodes.iter().enumerate();
        let reached = nodes.filter(|(number, _)| Some(*number) != self.cut_off);
        let urls = reached.map(|(_, node)| format!("nats://127.0.0.1:{}", node.port));
        urls.collect::<Vec<_>>().join(",")
    }

    /// Has a server of a cluster not reach the others, nor they it. Clients reach it.
    pub fn cut_off(&mut self, number: usize) {
        self.cut_off = Some(number);
        let cut = self.routes.iter().filter(|route| [route.from, route.to].contains(&number));
        cut.for_each(|route| route.proxy.shut());
    }

    /// Has all servers reach each other again.
    pub fn join(&mut self) {
        self.cut_off = None;
        self.routes.iter().for_each(|route| route.proxy.open());
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
