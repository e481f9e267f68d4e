//! A service's database and its stream, back to where they were some moments ago: what came
//! after that is gone with both, and whoever has heard of it must forget it.

use std::{fs, time::Duration};

use agora_proto::{admin::v1::ReadJournalRequest, event::v1 as event};
use bus_schema::{Event, Sequence, Source};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{Injector, LOOK_EVERY, remove};
use crate::{
    Result, Role, Service,
    faults::{load::Load, probe},
    wait_until,
};

/// For how long is written what is lost then.
const LOST: Duration = Duration::from_secs(2);
/// The copy of a database in a server.
const COPY: &str = "taken";

impl Injector<'_> {
    pub(super) async fn take_back(&mut self, source: Source, load: &Load) -> Result {
        self.mend().await?;
        let service = Service::of(source);
        let kept = {
            let _quiet = load.pause().await;
            self.quiet().await?;
            let kept = self.head(source).await?;
            self.copy(service).await?;
            kept
        };
        self.rest(LOST).await?;

        let _quiet = load.pause().await;
        self.quiet().await?;
        let lost = self.events(source, kept.next()).await?;
        for replica in 0..self.system.replicas(service) {
            self.system.replica(service, replica).kill().await?;
        }
        self.put_back(service).await?;
        self.delete_stream(source).await?;
        for replica in 0..self.system.replicas(service) {
            self.system.replica(service, replica).restart()?;
        }
        self.poisoned.retain(|poison| poison.source != source || poison.sequence <= kept);
        load.taken_back(source, &lost);
        Ok(())
    }

    /// Waits until everybody has heard of everything.
    pub(super) async fn quiet(&mut self) -> Result {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !probe::is_quiet(&self.system.access).await {
            if tokio::time::Instant::now() > deadline {
                return Err("it does not become quiet".into());
            }
            self.rest(LOOK_EVERY).await?;
        }
        Ok(())
    }

    async fn head(&self, source: Source) -> Result<Sequence> {
        let client = self.system.client("checker", Role::Operator)?;
        Ok(probe::head(&client, source).await.ok_or("a service does not answer")?)
    }

    /// The events of a source from here on.
    async fn events(&self, source: Source, from: Sequence) -> Result<Vec<Event>> {
        let client = self.system.client("checker", Role::Operator)?;
        let source_number = event::Source::from(source).into();
        let request = ReadJournalRequest { source: source_number, from_sequence: from.0 };
        let mut journal = probe::journals(&client, source);
        let mut answers = journal.read_journal(request).await?.into_inner();
        let mut events = Vec::new();
        while let Some(answer) = answers.message().await? {
            // Those that nobody can read have no effect that could be lost.
            events.extend(answer.rows.into_iter().filter_map(|row| Event::decode(row.event).ok()));
        }
        Ok(events)
    }

    pub(super) async fn copy(&self, service: Service) -> Result {
        if let Some(postgres) = &self.system.postgres {
            postgres.forget(COPY).await?;
            return postgres.copy(service.as_str(), COPY).await;
        }
        let database = self.system.database(service);
        let copy = database.with_extension(COPY);
        remove(&copy);
        let into = format!("VACUUM INTO '{}'", copy.display());
        let mut connection = SqliteConnectOptions::new().filename(&database).connect().await?;
        sqlx::query(AssertSqlSafe(into)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    pub(super) async fn put_back(&self, service: Service) -> Result {
        if let Some(postgres) = &self.system.postgres {
            let put_back = || async { postgres.put_back(service.as_str(), COPY).await.is_ok() };
            return wait_until("a database to be put back", put_back).await;
        }
        let database = self.system.database(service);
        remove(&database);
        fs::copy(database.with_extension(COPY), &database)?;
        Ok(())
    }
}
