use std::{
    any::TypeId,
    env,
    ffi::OsString,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::eventually;
use crate::{config, owner::Store};

/// A server that tests share, each with a schema of its own: a URL.
const SHARED: &str = "AGORA_TEST_POSTGRES";
/// The folder of PostgreSQL's programs.
const PROGRAMS: &str = "AGORA_POSTGRES_BIN";
/// A data folder that initdb has made, for servers of a test's own.
const TEMPLATE: &str = "AGORA_POSTGRES_TEMPLATE";

/// Where the database of one service of a test is; with this, it goes.
pub struct Place {
    /// `[database]`.
    pub settings: config::Database,
    _folder: Option<TempDir>,
}

impl Place {
    /// A file in a folder of its own.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn file(name: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let path = folder.path().join(format!("{name}.db"));
        let settings = config::Database { path, ..Default::default() };
        Self { settings, _folder: Some(folder) }
    }

    /// A schema of its own in the server that tests share.
    ///
    /// # Panics
    /// If there is no such server.
    pub async fn schema() -> Self {
        let shared = named(SHARED).into_string().expect("a URL");
        Self {
            settings: config::Database { url: Some(schema(&shared).await), ..Default::default() },
            _folder: None,
        }
    }

    /// A place for this kind of store.
    pub async fn of<S: Store>(name: &str) -> Self {
        if TypeId::of::<S::Backend>() == TypeId::of::<sqlx::Postgres>() {
            Self::schema().await
        } else {
            Self::file(name)
        }
    }
}

/// Makes a schema of its own in a server, and returns the URL that leads to it.
async fn schema(url: &str) -> config::Secret {
    let name = format!("t_{}", Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL runs");
    let create = AssertSqlSafe(format!("CREATE SCHEMA {name}"));
    sqlx::query(create).execute(&mut connection).await.expect("a schema can be made");
    connection.close().await.ok();
    format!("{url}?options=-csearch_path%3D{name}").as_str().into()
}

/// A PostgreSQL server in a folder and on a port of its own, which it keeps when it is
/// killed and started again. It is killed when this is dropped.
pub struct Postgres {
    // Before the folder: the server is killed before its files go.
    process: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// Starts a server with nothing in it.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
        let port = free.expect("a port is free").port();
        let template = PathBuf::from(named(TEMPLATE));
        let data = folder.path().join("data");
        // With the owner: the server does not run as root.
        let copied = std::process::Command::new("cp").arg("-a").arg(&template).arg(&data).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy {template:?}");
        open_to_all(folder.path());
        let mut server = Self { process: None, port, folder };
        server.restart().await;
        server
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("postgres://agora@127.0.0.1:{}/postgres", self.port)
    }

    /// `[database]` of one service, in a schema of its own.
    ///
    /// # Panics
    /// If the server does not run.
    pub async fn database(&self) -> config::Database {
        config::Database { url: Some(schema(&self.url()).await), ..Default::default() }
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
        self.process = Some(spawn(&self.folder.path().join("data"), self.port));
        let url: postgres::PgConnectOptions = self.url().parse().expect("it is a URL");
        eventually("PostgreSQL", async || {
            let connection = url.connect().await.ok()?;
            connection.close().await.ok()
        })
        .await;
    }
}

fn spawn(data: &Path, port: u16) -> Child {
    // A killed server leaves its mark, and its children may take a moment to end.
    fs::remove_file(data.join("postmaster.pid")).ok();
    let program = PathBuf::from(named(PROGRAMS)).join("postgres");
    let log = File::options().create(true).append(true).open(data.with_extension("log"));
    let mut command = Command::new(&program);
    command
        .arg("-D")
        .arg(data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories=", "-c", "shared_buffers=32MB"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("a file in a temporary folder can be made"))
        .kill_on_drop(true);
    as_owner(&mut command, data);
    command.spawn().unwrap_or_else(|error| panic!("cannot start {program:?}: {error}"))
}

/// Runs a command as the user whose folder it works on.
#[cfg(unix)]
fn as_owner(command: &mut Command, folder: &Path) {
    use std::os::unix::fs::MetadataExt as _;

    let folder = fs::metadata(folder).expect("the folder was made");
    command.uid(folder.uid()).gid(folder.gid());
}

#[cfg(not(unix))]
fn as_owner(_command: &mut Command, _folder: &Path) {}

/// Lets every user through to what is in a folder.
#[cfg(unix)]
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    let permissions = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder, permissions).expect("its own folder");
}

#[cfg(not(unix))]
fn open_to_all(_folder: &Path) {}

fn named(variable: &str) -> OsString {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| panic!("{variable} is not set: run `./dev test`"))
}

/// Makes two tests of each of these functions: one gets the first expression, which stands
/// for SQLite, the other one the second, which stands for PostgreSQL.
#[macro_export]
macro_rules! on_every_database {
    ($sqlite:expr, $postgres:expr; $($test:ident),+ $(,)?) => {
        mod on_sqlite {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($sqlite).await;
                }
            )+
        }
        mod on_postgres {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($postgres).await;
                }
            )+
        }
    };
}
