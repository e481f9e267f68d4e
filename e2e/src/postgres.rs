mod standby;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use crate::{
    Clock, Process, Result, free_port,
    process::{PATIENCE, variable},
};
pub use standby::Standby;

/// A PostgreSQL server on a port and with a data folder of its own, which it keeps when it
/// is killed and started again.
pub struct Postgres {
    process: Process,
    port: u16,
    data: PathBuf,
    clock: Option<Clock>,
}

impl Postgres {
    /// Starts a server with nothing in it, in this folder: `postgres` of the programs in
    /// `AGORA_POSTGRES_BIN`, on a copy of the data folder `AGORA_POSTGRES_TEMPLATE`, which
    /// `./dev` makes. Its clock can be made to jump if there is a library for that.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start(folder: &Path, has_clock: bool) -> Result<Self> {
        let template = variable("AGORA_POSTGRES_TEMPLATE")?;
        let data = folder.join("postgres");
        copy(Path::new(&template), &data)?;
        let_through(folder)?;
        let port = free_port()?;
        let clock = match has_clock {
            true => Clock::new(&folder.join("postgres.clock"))?,
            false => None,
        };
        let process = serve(&data, port, clock.as_ref())?;
        let mut server = Self { process, port, data, clock };
        server.ready().await?;
        server.execute("CREATE ROLE service LOGIN".into()).await?;
        server.execute("CREATE ROLE agora_query LOGIN".into()).await?;
        Ok(server)
    }

    /// The address of a database, for a role that owns it and may do nothing else.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://service@127.0.0.1:{}/{database}", self.port)
    }

    /// The address of a database, for the role that may only read what others may.
    pub fn reading_url(&self, database: &str) -> String {
        format!("postgres://agora_query@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database with nothing in it; drops it before if there is one.
    ///
    /// # Errors
    /// What the server says.
    pub async fn make(&self, database: &str) -> Result {
        self.forget(database).await?;
        self.execute(format!("CREATE DATABASE {database} OWNER service")).await
    }

    /// Copies a database, with everybody sent away from it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn copy(&self, database: &str, to: &str) -> Result {
        self.execute(format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false")).await?;
        self.execute(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        ))
        .await?;
        let copied = loop {
            // Sessions take a moment to end.
            let copied =
                self.execute(format!("CREATE DATABASE {to} TEMPLATE {database} OWNER service"));
            match copied.await {
                Err(error) if error.to_string().contains("being accessed") => {
                    sleep(std::time::Duration::from_millis(50)).await;
                }
                copied => break copied,
            }
        };
        self.execute(format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")).await?;
        copied
    }

    /// Drops a database, if there is one.
    ///
    /// # Errors
    /// What the server says.
    pub async fn forget(&self, database: &str) -> Result {
        self.execute(format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await
    }

    /// Puts a copy in a database's place.
    ///
    /// # Errors
    /// What the server says.
    pub async fn put_back(&self, database: &str, copy: &str) -> Result {
        self.forget(database).await?;
        self.execute(format!("ALTER DATABASE {copy} RENAME TO {database}")).await
    }

    /// Connects to a database as the role that owns it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn connect_to(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.url(database)).await
    }

    async fn connect_at(port: u16, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&format!("postgres://agora@127.0.0.1:{port}/{database}")).await
    }

    async fn execute(&self, statement: String) -> Result {
        let mut connection = self.connect().await?;
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        Self::connect_at(self.port, "postgres").await
    }

    /// The clock that it sees, if it is not the machine's.
    pub const fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self) -> Result {
        self.process.kill().await
    }

    /// Starts it again, on the same port and files.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn restart(&mut self) -> Result {
        self.process.restart()?;
        self.ready().await
    }

    /// Copies its data folder to another one, as long as it does not run.
    ///
    /// # Errors
    /// If the files cannot be copied.
    pub fn back_up(&self, to: &Path) -> Result {
        copy(&self.data, to)
    }

    /// Puts a copy back in the place of its data folder, as long as it does not run.
    ///
    /// # Errors
    /// If the files cannot be copied.
    pub fn restore(&self, from: &Path) -> Result {
        std::fs::remove_dir_all(&self.data)?;
        copy(from, &self.data)
    }

    async fn ready(&mut self) -> Result {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.connect().await {
                Ok(connection) => return Ok(connection.close().await?),
                Err(error) if Instant::now() > deadline => {
                    return Err(format!("{error}; {}", self.process.output()).into());
                }
                Err(_) => sleep(std::time::Duration::from_millis(20)).await,
            }
            // Children of a killed server may live a little longer, and keep the next one away.
            if self.process.has_ended() {
                self.process.restart()?;
            }
        }
    }
}

/// Starts a server on a data folder.
fn serve(data: &Path, port: u16, clock: Option<&Clock>) -> Result<Process> {
    let program = Path::new(&variable("AGORA_POSTGRES_BIN")?).join("postgres");
    let (port_text, data_text) = (port.to_string(), path_text(data)?);
    let arguments = [
        ["-D", data_text],
        ["-p", &port_text],
        ["-c", "listen_addresses=127.0.0.1"],
        // Three replicas of each service, those that were killed a moment ago, and the tests.
        ["-c", "max_connections=300"],
        ["-c", "unix_socket_directories="],
        // After a kill it would open and sync each of its thousands of files.
        ["-c", "recovery_init_sync_method=syncfs"],
    ];
    let log = data.with_extension("log");
    let environment = clock.map(Clock::environment).unwrap_or_default();
    Process::start_as_owner(data, &program, &arguments.concat(), &environment, &log)
}

fn path_text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or("the test's folder is not UTF-8")?)
}

/// Copies a folder with the owners of its files: the server does not run as root.
fn copy(from: &Path, to: &Path) -> Result {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(format!("cannot copy {}", from.display()).into()) }
}

/// Lets the user whom the server runs as through to its data.
fn let_through(folder: &Path) -> Result {
    use std::os::unix::fs::PermissionsExt as _;

    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?)
}
