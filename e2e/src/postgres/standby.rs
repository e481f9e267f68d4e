use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Postgres, path_text, serve, variable};
use crate::{Process, Proxy, Result, free_port, process::run_as_owner, wait_until};

/// A server that follows another one by streaming replication, over a connection that can
/// be cut.
pub struct Standby {
    process: Process,
    port: u16,
    data: PathBuf,
    link: Proxy,
}

impl Standby {
    /// Makes a standby of a server, in a folder of its own in this one, and waits until it
    /// follows.
    ///
    /// # Errors
    /// If it cannot be made, or does not follow in time.
    pub async fn start(primary: &Postgres, folder: &Path) -> Result<Self> {
        let link = Proxy::start(primary.port).await?;
        let port = free_port()?;
        let data = folder.join(format!("postgres-{port}"));
        make_folder(&data, &primary.data)?;
        let program = Path::new(&variable("AGORA_POSTGRES_BIN")?).join("pg_basebackup");
        let mut copy = Command::new(program);
        run_as_owner(&mut copy, &data)?;
        let from = format!("host=127.0.0.1 port={} user=agora", link.port());
        let options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"];
        let output =
            copy.args(["-D", path_text(&data)?, "-d", &from]).args(options).output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("cannot copy the server: {said}").into());
        }
        let process = serve(&data, port, primary.clock())?;
        let standby = Self { process, port, data, link };
        let streams = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')";
        wait_until("a standby to follow", || async {
            let Ok(mut connection) = primary.connect().await else { return false };
            sqlx::query_scalar(streams).fetch_one(&mut connection).await.unwrap_or(false)
        })
        .await?;
        Ok(standby)
    }

    /// Has it hear nothing more of the server that it follows.
    pub fn cut_off(&self) {
        self.link.shut();
    }

    /// Whether a database's journal is shorter here than on the server that it follows.
    ///
    /// # Errors
    /// What the servers say.
    pub async fn is_behind(&self, primary: &Postgres, database: &str) -> Result<bool> {
        let head = "SELECT sequence FROM journal_head";
        let mut ends = [0_i64; 2];
        for (end, port) in ends.iter_mut().zip([primary.port, self.port]) {
            let mut connection = Postgres::connect_at(port, database).await?;
            *end = sqlx::query_scalar(head).fetch_one(&mut connection).await?;
        }
        Ok(ends[1] < ends[0])
    }
}

impl Postgres {
    /// Has a standby take its place, on its port, after it was killed with SIGKILL.
    ///
    /// # Errors
    /// If the standby does not.
    pub async fn fail_over(&mut self, mut standby: Standby) -> Result {
        self.process.kill().await?;
        standby.process.stop().await?;
        std::fs::remove_dir_all(&self.data)?;
        self.data = standby.data;
        self.process = serve(&self.data, self.port, self.clock.as_ref())?;
        // From here on it can be read, as a standby can before it is promoted.
        self.ready().await?;
        self.execute("SELECT pg_promote()".into()).await
    }
}

/// Makes a folder of the user whom another one belongs to.
fn make_folder(folder: &Path, like: &Path) -> Result {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};

    std::fs::DirBuilder::new().mode(0o700).create(folder)?;
    let owner = std::fs::metadata(like)?;
    Ok(chown(folder, Some(owner.uid()), Some(owner.gid()))?)
}
