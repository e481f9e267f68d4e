//! Making things fail.

mod damage;
mod disk;
mod intrude;
mod lag;
mod poison;
mod take_back;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use agora_proto::admin::v1::RebuildViewRequest;
use async_nats::jetstream::{ErrorCode, context::DeleteStreamErrorKind};
use bus_schema::{Source, Stream};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tokio::time::{Instant, sleep};

use super::{load::Load, plan::Fault, probe};
use crate::{Clock, Postgres, Proxy, Result, Role, Service, Standby, System, wait_until};
pub use poison::{Poisoned, append};

/// How many bytes are cut off a stream's end at most.
const MAX_CUT: u64 = 4_096;
/// How often it is looked whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After how long a program sees what its clock was set to.
const CLOCK_SEEN: Duration = Duration::from_secs(1);
/// Why clocks are left alone.
const NO_CLOCKS: &str = "there is no libfaketime";

/// Injects faults into a system.
pub struct Injector<'s> {
    /// The system.
    pub system: &'s mut System,
    /// Copies of the databases: of each service, or of the whole server.
    backups: HashMap<Option<Service>, PathBuf>,
    /// The streams in whose files a byte was flipped, which nobody may have noticed.
    pub flipped: HashSet<Source>,
    /// The events that nobody can apply.
    pub poisoned: Vec<Poisoned>,
    /// What must not be, found while it happened.
    pub findings: Vec<String>,
}

impl<'s> Injector<'s> {
    /// Nothing has failed yet.
    pub fn new(system: &'s mut System) -> Self {
        Self {
            system,
            backups: HashMap::new(),
            flipped: HashSet::new(),
            poisoned: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Waits, and starts again what has ended by itself, as a supervisor does.
    ///
    /// # Errors
    /// If a program cannot be started.
    pub async fn rest(&mut self, time: Duration) -> Result {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.system.revive()?;
            sleep(LOOK_EVERY.min(until - Instant::now())).await;
        }
        Ok(())
    }

    /// Copies the databases, for [`Fault::RestoreBackup`].
    ///
    /// # Errors
    /// If they cannot be copied.
    pub async fn back_up(&mut self, load: &Load) -> Result {
        let folder = self.system.folder().join("backup");
        fs::create_dir_all(&folder)?;
        if self.system.postgres.is_none() {
            for service in Service::OWNERS {
                let to = folder.join(format!("{}.db", service.as_str()));
                let copy = format!("VACUUM INTO '{}'", to.display());
                let from = SqliteConnectOptions::new().filename(self.system.database(service));
                let mut connection = from.connect().await?;
                sqlx::query(AssertSqlSafe(copy)).execute(&mut connection).await?;
                connection.close().await?;
                self.backups.insert(Some(service), to);
            }
            return Ok(());
        }
        let _quiet = load.pause().await;
        let postgres = self.system.postgres.as_mut().ok_or("there is no server")?;
        postgres.kill().await?;
        let to = folder.join("postgres");
        postgres.back_up(&to)?;
        postgres.restart().await?;
        self.backups.insert(None, to);
        Ok(())
    }

    /// Why something cannot be made to fail here, if it cannot.
    pub fn why_not(&self, fault: Fault) -> Option<&'static str> {
        match fault {
            Fault::FillDisk(disk, _) if self.system.disk(disk).is_none() => {
                Some("this user may not mount file systems")
            }
            Fault::JumpClock(service, replica, ..)
                if self.system.clock(service, replica).is_none() =>
            {
                Some(NO_CLOCKS)
            }
            Fault::JumpPostgres(..)
                if self.system.postgres.as_ref().and_then(Postgres::clock).is_none() =>
            {
                Some(NO_CLOCKS)
            }
            _ => None,
        }
    }

    /// Makes something fail, and mends it as far as an operator would.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn inject(&mut self, fault: Fault, load: &Load) -> Result {
        match fault {
            Fault::KillService(service, replica) => {
                let process = self.system.replica(service, replica);
                process.kill().await?;
                process.restart()
            }
            Fault::PauseService(service, replica, time) => {
                self.system.replica(service, replica).pause().await?;
                sleep(time).await;
                self.system.replica(service, replica).resume().await
            }
            Fault::KillNats(time) => {
                self.system.nats.kill().await?;
                self.rest(time).await?;
                self.system.nats.restart().await
            }
            Fault::RestartNats => {
                self.system.nats.stop().await?;
                self.system.nats.restart().await
            }
            Fault::KillNode(node, time) => {
                self.system.nats.node(node).kill().await?;
                self.rest(time).await?;
                self.system.nats.node(node).restart().await
            }
            Fault::PauseNode(node, time) => {
                self.system.nats.node(node).pause().await?;
                self.rest(time).await?;
                self.system.nats.node(node).resume().await
            }
            Fault::RestartNode(node) => {
                self.system.nats.node(node).stop().await?;
                self.system.nats.node(node).restart().await
            }
            Fault::TruncateStream(source, node) => {
                self.held(source).await?;
                let node = self.system.nats.node(node);
                node.kill().await?;
                if let Some(block) = blocks(node.store(), source)?.last() {
                    let file = fs::File::options().write(true).open(block)?;
                    let length = file.metadata()?.len();
                    file.set_len(length.saturating_sub(MAX_CUT.min(length / 2)))?;
                }
                node.restart().await
            }
            Fault::DeleteStream(source) => {
                self.held(source).await?;
                self.delete_stream(source).await
            }
            Fault::FlipByte(source) => {
                self.held(source).await?;
                self.system.nats.stop().await?;
                if let Some(block) = blocks(self.system.nats.node(0).store(), source)?.first() {
                    let mut bytes = fs::read(block)?;
                    let middle = bytes.len() / 2;
                    if let Some(byte) = bytes.get_mut(middle) {
                        *byte ^= 0xff;
                    }
                    fs::write(block, bytes)?;
                    self.flipped.insert(source);
                }
                self.system.nats.restart().await
            }
            Fault::CutConnections => {
                self.system.proxies().iter().for_each(Proxy::cut);
                Ok(())
            }
            Fault::DelayConnections(delay, time) => {
                self.system.proxies().iter().for_each(|proxy| proxy.delay(delay));
                self.rest(time).await?;
                self.system.proxies().iter().for_each(|proxy| proxy.delay(Duration::ZERO));
                Ok(())
            }
            Fault::KillPostgres(time) => {
                self.system.postgres.as_mut().ok_or("there is no server")?.kill().await?;
                self.rest(time).await?;
                self.system.postgres.as_mut().ok_or("there is no server")?.restart().await
            }
            Fault::FailOver(time) => self.fail_over(time, load).await,
            Fault::RestoreBackup(service) => self.restore(service, load).await,
            Fault::RestoreBesideDamage(source) => self.restore_beside_damage(source, load).await,
            Fault::RestoreBesideLag(source) => self.restore_beside_lag(source, load).await,
            Fault::LoseDatabase(service) => self.lose_database(service, load).await,
            Fault::FillDisk(disk, time) => self.fill(disk, time).await,
            Fault::JumpClock(service, replica, seconds, time) => {
                self.jump(|system| system.clock(service, replica), seconds, time).await
            }
            Fault::JumpPostgres(seconds, time) => {
                self.jump(|system| system.postgres.as_ref()?.clock(), seconds, time).await
            }
            Fault::LoseView => {
                load.view_is_lost();
                self.system.process(Service::Query).kill().await?;
                let view = self.system.database(Service::Query);
                for path in [&view, &view.with_extension("2.db")] {
                    remove(path);
                }
                self.system.process(Service::Query).restart()
            }
            Fault::RebuildView => {
                let client = self.system.client("operator", Role::Operator)?;
                let request = RebuildViewRequest::default();
                // What else has failed may keep it from being done.
                if let Ok(answers) = client.view.clone().rebuild_view(request).await {
                    let mut answers = answers.into_inner();
                    while let Ok(Some(_)) = answers.message().await {}
                }
                Ok(())
            }
            Fault::Intrude(service) => self.intrude(service).await,
            Fault::Poison(source) => self.poison(source).await,
            Fault::TakeBack(source) => self.take_back(source, load).await,
        }
    }

    /// Deletes a stream, unless it is gone already. A cluster may have no leader yet.
    async fn delete_stream(&self, source: Source) -> Result {
        let jetstream = async_nats::jetstream::new(self.system.nats.connect().await?);
        let name = Stream::of(source, 1, -1).name;
        wait_until("a stream to be deleted", || async {
            match jetstream.delete_stream(name).await {
                Ok(_) => true,
                Err(error) => matches!(
                    error.kind(),
                    DeleteStreamErrorKind::JetStream(cause)
                        if cause.error_code() == ErrorCode::STREAM_NOT_FOUND
                ),
            }
        })
        .await
    }

    /// Has a clock go wrong for some time.
    async fn jump(
        &mut self,
        clock: impl Fn(&System) -> Option<&Clock>,
        seconds: i64,
        time: Duration,
    ) -> Result {
        clock(self.system).ok_or(NO_CLOCKS)?.set(seconds)?;
        self.rest(CLOCK_SEEN + time).await?;
        clock(self.system).ok_or(NO_CLOCKS)?.set(0)
    }

    /// What a stream is about to lose must be in its journal: a database that was put back or
    /// failed over may still have to import it.
    async fn held(&mut self, source: Source) -> Result {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !probe::is_held(&self.system.access, source).await {
            if Instant::now() > deadline {
                let found = probe::differences(&self.system.access).await?;
                return Err(format!("a journal lacks what its stream holds: {found}").into());
            }
            self.rest(LOOK_EVERY).await?;
        }
        Ok(())
    }

    /// What is replaced or lost must be in the streams, or it is lost for good: nobody can
    /// bring back what nobody else has.
    async fn published(&mut self) -> Result {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !probe::is_published(&self.system.access).await {
            if Instant::now() > deadline {
                let found = probe::differences(&self.system.access).await?;
                return Err(format!("the journals are not published: {found}").into());
            }
            self.rest(LOOK_EVERY).await?;
        }
        Ok(())
    }

    async fn restore(&mut self, service: Service, load: &Load) -> Result {
        if self.backups.is_empty() {
            return Ok(());
        }
        self.mend().await?;
        let _quiet = load.pause().await;
        self.published().await?;
        if let Some(backup) = self.backups.get(&None).cloned() {
            let postgres = self.system.postgres.as_mut().ok_or("there is no server")?;
            postgres.kill().await?;
            postgres.restore(&backup)?;
            return postgres.restart().await;
        }
        let Some(backup) = self.backups.get(&Some(service)).cloned() else { return Ok(()) };
        self.system.process(service).kill().await?;
        let database = self.system.database(service);
        remove(&database);
        fs::copy(backup, &database)?;
        self.system.process(service).restart()
    }

    async fn fail_over(&mut self, time: Duration, load: &Load) -> Result {
        self.mend().await?;
        let primary = self.system.postgres.as_ref().ok_or("there is no server")?;
        let standby = Standby::start(primary, self.system.folder()).await?;
        standby.cut_off();
        self.rest(time).await?;
        let primary = self.system.postgres.as_ref().ok_or("there is no server")?;
        wait_until("a standby to be behind", || async {
            standby.is_behind(primary, Service::Comment.as_str()).await.unwrap_or(false)
        })
        .await?;
        let _quiet = load.pause().await;
        self.published().await?;
        self.system.postgres.as_mut().ok_or("there is no server")?.fail_over(standby).await
    }

    async fn lose_database(&mut self, service: Service, load: &Load) -> Result {
        self.mend().await?;
        let _quiet = load.pause().await;
        self.published().await?;
        let replicas = self.system.replicas(service);
        for replica in 0..replicas {
            self.system.replica(service, replica).kill().await?;
        }
        match &self.system.postgres {
            Some(postgres) => postgres.make(service.as_str()).await?,
            None => remove(&self.system.database(service)),
        }
        for replica in 0..replicas {
            self.system.replica(service, replica).restart()?;
        }
        Ok(())
    }

    /// Has streams refilled that may be damaged, as an operator does whose alert says so.
    ///
    /// # Errors
    /// If a stream cannot be refilled.
    pub async fn mend(&mut self) -> Result {
        for source in std::mem::take(&mut self.flipped) {
            let access = &self.system.access;
            wait_until("a damaged stream to be refilled", || async {
                probe::refill(access, source).await.unwrap_or(false)
            })
            .await?;
        }
        Ok(())
    }
}

/// The files that hold a stream's messages, the oldest first.
fn blocks(store: &Path, source: Source) -> Result<Vec<PathBuf>> {
    let messages = ["jetstream", "$G", "streams", Stream::of(source, 1, -1).name, "msgs"];
    let folder = messages.iter().fold(store.to_owned(), |path, part| path.join(part));
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut blocks = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "blk") {
            blocks.push(path);
        }
    }
    blocks.sort_by_key(|path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        stem.unwrap_or_default()
    });
    Ok(blocks)
}

/// What the files of a SQLite database end with.
const FILES: [&str; 3] = ["", "-wal", "-shm"];

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a SQLite database that nobody has open.
fn remove(path: &Path) {
    for suffix in FILES {
        // It may not be there.
        fs::remove_file(with_suffix(path, suffix)).ok();
    }
}
