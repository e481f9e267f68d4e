//! Keeps the embedded NATS server running: starts it, starts it again if it dies, and
//! stops it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt as _,
    process::Stdio,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    monitor::{self, RUNNING, Restarts, tell},
    nats::{Setup, free_port},
    process::{STOP_TIMEOUT, terminate},
};
use crate::error::Error;

/// How long a server may take until it serves; with large streams it reads for a
/// while.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);
/// How long to wait before a server that died is started again.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// How much of the end of the log is searched for what went wrong.
const LOG_TAIL: u64 = 4_096;

/// A running NATS server. It does not outlive this process, however that ends.
pub struct Server {
    stop: CancellationToken,
    thread: JoinHandle<()>,
    process_id: watch::Receiver<u32>,
    detail: watch::Receiver<String>,
}

/// What is told of a server that runs.
struct Told {
    process_id: watch::Sender<u32>,
    /// Whether it is well, in words.
    detail: watch::Sender<String>,
}

impl Server {
    /// Starts the server and waits until it serves.
    pub async fn start(setup: Setup) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let (process_id_sender, mut process_id) = watch::channel(0);
        let (detail_sender, detail) = watch::channel(RUNNING.to_owned());
        let told = Told { process_id: process_id_sender, detail: detail_sender };
        let (failed, failure) = tokio::sync::oneshot::channel();
        let stopped = stop.clone();
        // The kernel ends a child when the *thread* that started it ends: this one lives
        // as long as the server is needed.
        let supervise = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    let supervised = supervise(&setup, &told, &stopped);
                    if let Err(error) = runtime.block_on(supervised) {
                        failed.send(error).ok();
                    }
                }
                Err(error) => {
                    let cannot = Error::failed("cannot monitor the NATS server");
                    failed.send(cannot(error)).ok();
                }
            }
        };
        let named = thread::Builder::new().name("nats".to_owned());
        let thread = named
            .spawn(supervise)
            .map_err(Error::failed("cannot start a thread for the NATS server"))?;
        tokio::select! {
            biased;
            Ok(error) = failure => return Err(error),
            started = process_id.wait_for(|id| *id != 0) => {
                started.map_err(Error::failed("the NATS server is not monitored"))?;
            }
        }
        Ok(Self { stop, thread, process_id, detail })
    }

    /// The id of its process, which changes when it has to be started again.
    pub fn process_id(&self) -> watch::Receiver<u32> {
        self.process_id.clone()
    }

    /// Whether it is well, in words.
    pub fn detail(&self) -> watch::Receiver<String> {
        self.detail.clone()
    }

    /// Stops it and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join().ok()).await.ok();
    }
}

/// Runs servers one after another. Fails only where the first does not start.
async fn supervise(setup: &Setup, told: &Told, stop: &CancellationToken) -> Result<(), Error> {
    let mut restarts = Restarts::new();
    loop {
        let is_first = *told.process_id.borrow() == 0;
        let (mut child, monitoring) = match start(setup, stop).await {
            Ok(started) => started,
            Err(error) if is_first => return Err(error),
            Err(error) => {
                tracing::error!(error = %error, "cannot restart the NATS server");
                tell(&told.detail, format!("cannot restart: {error}"));
                if stop.run_until_cancelled(sleep(RESTART_DELAY)).await.is_none() {
                    return Ok(());
                }
                continue;
            }
        };
        told.process_id.send_replace(child.id().unwrap_or_default());
        let watched = async {
            tokio::select! {
                ended = child.wait() => Some(ended),
                () = monitor::until_stuck(monitoring, &setup.store, &mut restarts, &told.detail) => {
                    None
                }
            }
        };
        match stop.run_until_cancelled(watched).await {
            None => {
                shut_down(&mut child).await;
                return Ok(());
            }
            Some(None) => {
                shut_down(&mut child).await;
                continue;
            }
            Some(Some(ended)) => {
                let status = ended
                    .map(|status| status.to_string())
                    .unwrap_or_else(|error| error.to_string());
                tracing::error!(status, "the NATS server has ended: restarting it");
                tell(&told.detail, format!("restarting: it has ended: {status}"));
            }
        }
        if stop.run_until_cancelled(sleep(RESTART_DELAY)).await.is_none() {
            return Ok(());
        }
    }
}

/// Starts a server and waits until it serves. Returns where it says how it is, too.
async fn start(setup: &Setup, stop: &CancellationToken) -> Result<(Child, SocketAddr), Error> {
    // Another one each time: nobody else needs it, and this one may be taken meanwhile.
    let monitoring = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(0)?));
    let mut child = spawn(setup, monitoring.port())?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Error::plain(format!(
                "the NATS server ended at once ({status}): {}",
                last_error(setup)
            )));
        }
        if serves(setup).await {
            return Ok((child, monitoring));
        }
        if Instant::now() > deadline || stop.is_cancelled() {
            shut_down(&mut child).await;
            return Err(Error::plain(format!(
                "the NATS server does not serve after {} s: {}",
                START_TIMEOUT.as_secs(),
                last_error(setup)
            )));
        }
        sleep(POLL).await;
    }
}

fn spawn(setup: &Setup, monitoring_port: u16) -> Result<Child, Error> {
    let log = File::options().create(true).append(true).open(&setup.log);
    let log = log.map_err(Error::file("write", &setup.log))?;
    let log_too = log.try_clone().map_err(Error::file("write", &setup.log))?;
    let mut command = std::process::Command::new(&setup.program);
    command
        .arg("--config")
        .arg(&setup.config)
        .args(["--http_port", &monitoring_port.to_string()])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too)
        // A Ctrl-C at the terminal is for agora, which stops the server last.
        .process_group(0);
    end_with_this_process(&mut command);
    let spawned = Command::from(command).kill_on_drop(true).spawn();
    spawned.map_err(Error::failed(format!("cannot start {}", setup.program.to_string_lossy())))
}

/// Has the kernel stop the child when this process is killed. Elsewhere than on Linux
/// the next `agora up` on the same data folder stops it.
#[cfg(target_os = "linux")]
fn end_with_this_process(command: &mut std::process::Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    let prepare = move || -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may have been killed before the signal was asked for.
        match getppid() == Some(parent) {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    #[allow(unsafe_code, reason = "what runs between fork and exec makes two system calls only")]
    // SAFETY: the closure allocates nothing, takes no lock and touches no memory of
    // other threads.
    unsafe {
        command.pre_exec(prepare);
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_this_process(_: &mut std::process::Command) {}

/// Whether the server greets who connects: it does once its streams are there.
async fn serves(setup: &Setup) -> bool {
    let greeting = async {
        let stream = TcpStream::connect(setup.address()).await.ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.ok()?;
        line.starts_with("INFO ").then_some(())
    };
    timeout(Duration::from_secs(1), greeting).await.is_ok_and(|greeted| greeted.is_some())
}

async fn shut_down(child: &mut Child) {
    if let Some(id) = child.id() {
        terminate(id);
    }
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        tracing::warn!("the NATS server does not stop and is killed");
        child.kill().await.ok();
    }
}

/// The line of the log that tells best what went wrong, and where the log is.
fn last_error(setup: &Setup) -> String {
    let place = format!("see {}", setup.log.display());
    let Ok(log) = tail(setup) else { return place };
    let log = String::from_utf8_lossy(&log);
    let mut lines = log.lines().rev().filter(|line| !line.trim().is_empty());
    let is_error = |line: &&str| line.contains("[FTL]") || line.contains("[ERR]");
    let line = lines.clone().find(is_error).or_else(|| lines.next());
    line.map(|line| format!("{}; {place}", line.trim())).unwrap_or(place)
}

fn tail(setup: &Setup) -> io::Result<Vec<u8>> {
    let length = fs::metadata(&setup.log)?.len();
    let mut file = File::open(&setup.log)?;
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}
