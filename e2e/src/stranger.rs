//! A service of another installation, which uses the NATS server of a system.

use std::{fs, path::PathBuf};

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::{
    Addresses, Client, Process, Result, Role, Service, System, free_port, process::program,
    system::http_answer,
};

/// What begins the setting of whom a service asks: the stranger knows nobody of the system.
const ACQUAINTANCES: [&str; 4] =
    ["AGORA_OWNERS__", "AGORA_FALLBACK__", "AGORA_POST_SERVICE__", "AGORA_DATABASE__"];

/// The process, with a SQLite file of its own.
pub struct Stranger {
    /// The process.
    pub process: Process,
    service: Service,
    database: PathBuf,
    grpc: u16,
    http: u16,
}

impl Stranger {
    /// What its installation is called.
    pub const INSTALLATION: &'static str = "the-other/agora";

    /// Starts one on an empty database.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(system: &System, service: Service) -> Result<Self> {
        let (grpc, http) = (free_port()?, free_port()?);
        let folder = system.folder().join(format!("stranger-{grpc}"));
        fs::create_dir_all(&folder)?;
        let database = folder.join(format!("{service}.db"));
        let mut environment = system.environment(service, 0)?;
        environment.retain(|(name, _)| !ACQUAINTANCES.iter().any(|known| name.starts_with(known)));
        environment.extend([
            ("AGORA_SERVER__LISTEN", format!("127.0.0.1:{grpc}")),
            ("AGORA_SERVER__HTTP_LISTEN", format!("127.0.0.1:{http}")),
            ("AGORA_INSTALLATION__NAME", Self::INSTALLATION.to_owned()),
            ("AGORA_DATABASE__PATH", database.display().to_string()),
        ]);
        let (program, log) = (program("agora")?, folder.join("log"));
        let process = Process::start(&program, &["serve", service.as_str()], &environment, &log)?;
        Ok(Self { process, service, database, grpc, http })
    }

    /// A caller of it, whatever the call is.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn client(&self, system: &System, user: &str, role: Role) -> Result<Client> {
        let here = vec![format!("http://127.0.0.1:{}", self.grpc)];
        let addresses = Addresses {
            post: here.clone(),
            comment: here.clone(),
            moderation: here.clone(),
            query: here,
        };
        Client::new(&addresses, Some(&system.token(user, role)?))
    }

    /// Whether it says that it is ready, and what it says of its parts.
    pub async fn health(&self) -> Option<(bool, String)> {
        let (head, body) = http_answer(self.http, "/readyz").await?;
        Some((head.starts_with("HTTP/1.1 200"), body))
    }

    /// How many events it holds: in its journal, and folded of others.
    ///
    /// # Errors
    /// If its database cannot be read.
    pub async fn events(&self) -> Result<i64> {
        let options = SqliteConnectOptions::new().filename(&self.database);
        let mut connection = options.connect().await?;
        let folded = "SELECT coalesce(sum(sequence), 0) FROM checkpoint";
        let mut events: i64 = sqlx::query_scalar(folded).fetch_one(&mut connection).await?;
        if self.service != Service::Query {
            let own = "SELECT count(*) FROM journal";
            events += sqlx::query_scalar::<_, i64>(own).fetch_one(&mut connection).await?;
        }
        connection.close().await?;
        Ok(events)
    }
}
