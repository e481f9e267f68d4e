use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::Result;

/// How long a program may take to start, to stop, or to catch up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program of this project, built in the same profile as this one.
///
/// # Errors
/// If it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let this = env::current_exe()?;
    // Tests are in `deps/`, programs beside it.
    let folders = this.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    Ok(found.ok_or_else(|| format!("{name} is not built: run `cargo build --workspace` first"))?)
}

/// The program of the next version, which `./dev` builds and names.
///
/// # Errors
/// If it is not named.
pub fn next_program() -> Result<PathBuf> {
    Ok(variable("AGORA_NEXT_PROGRAM")?.into())
}

/// A variable that `./dev` sets.
pub(crate) fn variable(name: &str) -> Result<String> {
    Ok(env::var(name).map_err(|_| format!("{name} is not set: run it by ./dev"))?)
}

/// Below the ports that systems give to connections: what is stopped and started again on
/// its port must find it free.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A port of loopback that nobody listens on, and that this process has not given before:
/// who was given one may not listen yet, or is stopped for a while.
///
/// # Errors
/// If none is found.
pub fn free_port() -> Result<u16> {
    const TRIES: usize = 100;
    // Programs that run beside this one begin elsewhere.
    static NEXT: LazyLock<AtomicUsize> =
        LazyLock::new(|| AtomicUsize::new(rand::random_range(0..PORTS.len())));
    for _ in 0..TRIES {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len();
        let port = PORTS.start + u16::try_from(nth)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(format!("none of {TRIES} ports is free").into())
}

/// Waits until something holds, at most [`PATIENCE`].
///
/// # Errors
/// If it does not hold in time.
pub async fn wait_until<F>(what: &str, mut holds: impl FnMut() -> F) -> Result
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        if Instant::now() > deadline {
            return Err(format!("waited in vain for {what}").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A running program, killed when it is dropped. It can be killed and started again
/// with the same arguments.
pub struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    /// It runs as the user whose folder this is.
    owner: Option<PathBuf>,
    child: Option<Child>,
}

impl Process {
    /// Starts a program; what it prints goes to the end of a file.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, String)],
        log: &Path,
    ) -> Result<Self> {
        let mut process = Self::new(program, arguments, environment, log);
        process.restart()?;
        Ok(process)
    }

    /// Starts a program as the user whom a folder belongs to.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_as_owner(
        folder: &Path,
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, String)],
        log: &Path,
    ) -> Result<Self> {
        let process = Self::new(program, arguments, environment, log);
        let mut process = Self { owner: Some(folder.to_owned()), ..process };
        process.restart()?;
        Ok(process)
    }

    fn new(program: &Path, arguments: &[&str], environment: &[(&str, String)], log: &Path) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            log: log.to_owned(),
            owner: None,
            child: None,
        }
    }

    /// Starts it again.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self) -> Result {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        if let Some(folder) = &self.owner {
            run_as_owner(&mut command, folder)?;
        }
        let child = command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Has it be another program, with one more variable if there is one, from its next start
    /// on.
    pub fn become_program(&mut self, program: &Path, variable: Option<(&str, &str)>) {
        self.program = program.to_owned();
        let variable = variable.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.environment.extend(variable);
    }

    /// Kills it with SIGKILL, and returns once it is gone.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self) -> Result {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and returns its exit code.
    ///
    /// # Errors
    /// If it does not stop in time.
    pub async fn stop(&mut self) -> Result<Option<i32>> {
        if self.id().is_some() {
            self.signal("-TERM").await?;
        }
        let Some(mut child) = self.child.take() else { return Ok(None) };
        let status = tokio::time::timeout(PATIENCE, child.wait()).await??;
        Ok(status.code())
    }

    /// Pauses it (SIGSTOP), as a machine that hangs does.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn pause(&self) -> Result {
        self.signal("-STOP").await
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Errors
    /// If it does not run.
    pub async fn resume(&self) -> Result {
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> Result {
        let id = self.id().ok_or("the process does not run")?.to_string();
        Command::new("kill").args([signal, &id]).status().await?;
        Ok(())
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Has a program run as the user whom a folder belongs to.
pub(crate) fn run_as_owner(command: &mut Command, folder: &Path) -> Result {
    use std::os::unix::fs::MetadataExt as _;

    let owner = std::fs::metadata(folder)?;
    command.uid(owner.uid()).gid(owner.gid());
    Ok(())
}
