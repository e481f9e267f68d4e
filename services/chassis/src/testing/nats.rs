use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    net::Ipv4Addr,
    path::Path,
    process::Stdio,
};

use async_nats::jetstream;
use bus_schema::{Sequence, Source, Stream};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::eventually;

/// Names the program to run; without it, it is the `nats-server` of the PATH.
const PROGRAM: &str = "AGORA_NATS_SERVER";
/// What makes nats-server take a free port, and write it into a file.
const ANY_PORT: &str = "-1";

/// A nats-server with JetStream, in a folder and on a port of its own, which it keeps
/// when it is killed and started again. It is killed when this is dropped.
pub struct Nats {
    // Before the folder: the server is killed before its files go.
    process: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl Nats {
    /// Starts a server with nothing in it.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mut process = spawn(folder.path(), ANY_PORT);
        let port = eventually("nats-server's port", async || {
            let ended = process.try_wait().expect("its own child can be waited for");
            assert!(ended.is_none(), "nats-server has ended:\n{}", log(folder.path()));
            port(folder.path())
        })
        .await;
        let nats = Self { process: Some(process), port, folder };
        nats.ready().await;
        nats
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// JetStream on a connection of its own.
    ///
    /// # Panics
    /// If it cannot be reached.
    pub async fn jetstream(&self) -> jetstream::Context {
        let client = async_nats::connect(self.url()).await.expect("the server runs");
        jetstream::new(client)
    }

    /// Waits until a source's stream holds everything up to `sequence`.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn holds(&self, source: Source, sequence: Sequence) {
        let jetstream = self.jetstream().await;
        let name = Stream::of(source, 1, -1).name;
        eventually("the relay", async || {
            let stream = jetstream.get_stream(&name).await.ok()?;
            (stream.cached_info().state.last_sequence >= sequence.0).then_some(())
        })
        .await;
    }

    /// Kills it (SIGKILL), and returns once it is gone.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("its own child can be killed");
        }
    }

    /// Starts it again, on the same port and files; kills it first if it runs.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.process = Some(spawn(self.folder.path(), &self.port.to_string()));
        self.ready().await;
    }

    async fn ready(&self) {
        let address = (Ipv4Addr::LOCALHOST, self.port);
        eventually("nats-server", async || TcpStream::connect(address).await.ok()).await;
    }
}

fn spawn(folder: &Path, port: &str) -> Child {
    let named = env::var_os(PROGRAM).filter(|program| !program.is_empty());
    let program = named.unwrap_or_else(|| OsString::from("nats-server"));
    let output = File::options().create(true).append(true).open(folder.join("nats.log"));
    let output = output.expect("a file in a temporary folder can be made");
    Command::new(&program)
        .args(["-js", "-a", "127.0.0.1", "-p", port, "-sd"])
        .arg(folder.join("store"))
        .arg("--ports_file_dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start {program:?} ({error}): run `./dev test`, or set {PROGRAM}")
        })
}

/// The port that the server wrote into `nats-server_<process id>.ports`, once it is
/// there as a whole.
fn port(folder: &Path) -> Option<u16> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let file = files.into_iter().find(|path| path.extension().is_some_and(|it| it == "ports"))?;
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("nats.log")).unwrap_or_default()
}
