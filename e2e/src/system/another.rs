//! A query process more.

use std::{fs, path::PathBuf};

use super::{Service, System, http_get};
use crate::{
    Process, Result, free_port,
    process::{program, wait_until},
};

impl System {
    /// One more query process, set up like the first but for its folder and its ports, and for
    /// what is given in addition.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn another_query(&self, name: &str, also: &[(&'static str, String)]) -> Result<Another> {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder)?;
        let (grpc, http) = (free_port()?, free_port()?);
        let database = folder.join("view.db");
        let mut environment = self.environment(Service::Query, 0)?;
        environment.extend([
            ("AGORA_SERVER__LISTEN", format!("127.0.0.1:{grpc}")),
            ("AGORA_SERVER__HTTP_LISTEN", format!("127.0.0.1:{http}")),
            ("AGORA_DATABASE__PATH", database.display().to_string()),
            ("AGORA_SNAPSHOT__TOKEN_FILE", self.folder.path().join("token").display().to_string()),
        ]);
        environment.extend_from_slice(also);
        let log = folder.join("log");
        let process = Process::start(&program("agora")?, &["serve", "query"], &environment, &log)?;
        Ok(Another { process, database, grpc, http })
    }
}

/// A query process beside the system's own.
pub struct Another {
    /// The process.
    pub process: Process,
    /// Its view.
    pub database: PathBuf,
    grpc: u16,
    http: u16,
}

impl Another {
    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn ready(&self) -> Result {
        let ready = || async { http_get(self.http, "/readyz").await.is_some() };
        let waited = wait_until("another query service", ready).await;
        waited.map_err(|error| format!("{error}: it printed:\n{}", self.process.output()).into())
    }

    /// What it measures.
    pub async fn metrics(&self) -> String {
        http_get(self.http, "/metrics").await.unwrap_or_default()
    }
}
