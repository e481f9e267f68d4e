//! A service that starts while what it needs is not there, or does not let it in.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use e2e::{Nats, Postgres, Process, Result, free_port, http_get, program, wait_until};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

/// The post service, or another one, alone.
pub struct Alone {
    pub process: Process,
    pub http: u16,
}

impl Alone {
    pub fn start(folder: &Path, service: &str, settings: &[(&str, String)]) -> Result<Self> {
        let (grpc, http) = (free_port()?, free_port()?);
        let address = |port| format!("127.0.0.1:{port}");
        let mut environment = vec![
            ("AGORA_SERVER__LISTEN", address(grpc)),
            ("AGORA_SERVER__HTTP_LISTEN", address(http)),
            ("AGORA_SERVER__SECRET", "the secret that all replicas share".to_owned()),
            ("AGORA_INSTALLATION__NAME", "alone".to_owned()),
        ];
        environment.extend_from_slice(settings);
        let log = folder.join(format!("{service}.log"));
        let process = Process::start(&program("agora")?, &["serve", service], &environment, &log)?;
        Ok(Self { process, http })
    }

    pub async fn is_ready(&self) -> bool {
        http_get(self.http, "/readyz").await.is_some()
    }

    async fn is_live(&self) -> bool {
        http_get(self.http, "/livez").await.is_some()
    }

    /// Waits until it has printed something.
    pub async fn prints(&self, text: &str) -> Result {
        let printed = wait_until(text, || async { self.process.output().contains(text) }).await;
        printed.map_err(|error| format!("{error}; it printed:\n{}", self.process.output()).into())
    }

    /// Waits until it has ended, and returns what it printed last.
    pub async fn last_line(&mut self) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.process.has_ended() {
            assert!(Instant::now() < deadline, "it goes on: {}", self.process.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(self.process.output().lines().last().unwrap_or_default().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_is_not_there_yet_is_waited_for() -> Result {
    let folder = TempDir::new()?;
    let nats = Nats::start(folder.path()).await?;
    let mut postgres = Postgres::start(folder.path(), false).await?;
    postgres.make("post").await?;
    postgres.kill().await?;
    let settings = [("AGORA_NATS__URL", nats.url()), ("AGORA_DATABASE__URL", postgres.url("post"))];

    let mut service = Alone::start(folder.path(), "post", &settings)?;
    service.prints("waiting for PostgreSQL").await?;
    assert!(service.is_live().await && !service.is_ready().await);
    // Whoever stops it meanwhile, need not wait.
    assert_eq!(service.process.stop().await?, Some(0), "{}", service.process.output());

    let service = Alone::start(folder.path(), "post", &settings)?;
    wait_until("a live service", || service.is_live()).await?;
    postgres.restart().await?;
    wait_until("a ready service", || service.is_ready()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_waiting_mends_is_told_at_once() -> Result {
    let folder = TempDir::new()?;
    let nats = Nats::start(folder.path()).await?;
    let postgres = Postgres::start(folder.path(), false).await?;
    postgres.make("post").await?;
    let url = postgres.url("post");
    let admin = url.replace("service@", "agora@");
    let access = folder.path().join("postgres/pg_hba.conf");
    let everybody = std::fs::read_to_string(&access)?;
    let locked = "host all locked 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(&access, format!("{locked}{everybody}"))?;
    let mut connection = PgConnection::connect(&admin).await?;
    for statement in [
        "CREATE ROLE locked LOGIN PASSWORD 'right'",
        "CREATE ROLE lax LOGIN",
        "ALTER ROLE lax SET synchronous_commit = off",
    ] {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    sqlx::query("SELECT pg_reload_conf()").execute(&mut connection).await?;

    let table = [
        (url.replace("service@", "locked:wrong@"), "password authentication failed"),
        (url.replace("service@", "nobody@"), "role \"nobody\" does not exist"),
        (postgres.url("nowhere"), "database \"nowhere\" does not exist"),
        (url.replace("service@", "lax@"), "synchronous_commit is off"),
        ("mysql://somewhere".into(), "AGORA_DATABASE__URL"),
    ];
    for (url, expected) in table {
        let settings = [("AGORA_NATS__URL", nats.url()), ("AGORA_DATABASE__URL", url)];
        let mut service = Alone::start(folder.path(), "post", &settings)?;
        let line = service.last_line().await?;
        assert!(line.starts_with("error: ") && line.contains(expected), "{line}");
    }

    // Nobody listens on port 1.
    let settings = [
        ("AGORA_NATS__URL", nats.url()),
        ("AGORA_DATABASE__URL", "postgres://service@127.0.0.1:1/post".into()),
        ("AGORA_DATABASE__START_TIMEOUT_MS", "1000".into()),
    ];
    let line = Alone::start(folder.path(), "post", &settings)?.last_line().await?;
    assert!(line.contains("could not be reached in 1.") && line.contains("refused"), "{line}");
    Ok(())
}

/// A NATS server that lets one user in.
fn locked_nats(folder: &Path, port: u16, password: &str) -> Result<Process> {
    let program = std::env::var("AGORA_NATS_SERVER").unwrap_or("nats-server".into());
    let (port, store) = (port.to_string(), folder.join("locked").display().to_string());
    let login = ["--user", "agora", "--pass", password];
    let arguments = ["-js", "-a", "127.0.0.1", "-p", &port, "-sd", &store];
    let arguments = [&arguments[..], &login].concat();
    Process::start(Path::new(&program), &arguments, &[], &folder.join("locked.log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_nats_does_not_let_in_is_never_ready_and_says_why() -> Result {
    const REFUSED: &str = "NATS rejected the credentials";
    let folder = TempDir::new()?;
    let port = free_port()?;
    let mut nats = locked_nats(folder.path(), port, "first")?;
    let settings = |service: &str, password: &str| {
        [
            ("AGORA_NATS__URL", format!("nats://127.0.0.1:{port}")),
            ("AGORA_NATS__USER", "agora".to_owned()),
            ("AGORA_NATS__PASSWORD", password.to_owned()),
            ("AGORA_DATABASE__PATH", folder.path().join(service).display().to_string()),
        ]
    };
    for name in ["post", "query"] {
        let service = Alone::start(folder.path(), name, &settings(name, "wrong"))?;
        service.prints(REFUSED).await?;
        wait_until("a live service", || service.is_live()).await?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            assert!(!service.is_ready().await, "{name} is ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    let name = "post";
    let right = Alone::start(folder.path(), name, &settings("right", "first"))?;
    wait_until("a ready service", || right.is_ready()).await?;
    // A password that is changed under a service that runs takes nothing from its callers.
    nats.kill().await?;
    let mut nats = locked_nats(folder.path(), port, "second")?;
    let refusals = || right.process.output().matches(REFUSED).count();
    let before = refusals();
    wait_until("to be refused", || async { refusals() > before }).await?;
    assert!(right.is_ready().await);
    nats.kill().await?;
    let _nats = locked_nats(folder.path(), port, "first")?;
    right.prints("connected").await?;
    wait_until("a ready service", || right.is_ready()).await
}
