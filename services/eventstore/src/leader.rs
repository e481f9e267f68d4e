//! Which replica of a service runs its relay and its consumers. Where the replicas share a
//! database, a session advisory lock on a connection of its own elects one; where the
//! database belongs to one process, that one leads.
//!
//! Two leaders at once, as after a pause, can do no harm: publishing is fenced by the
//! stream's last sequence, applying by the checkpoint.

use std::{convert::Infallible, time::Duration};

use metrics::{Gauge, Unit};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::watch,
    time::{error::Elapsed, interval, sleep, timeout},
};

use chassis::{Host, failpoint};

/// How often a replica asks for the lock, or shows that it still lives.
const PING: Duration = Duration::from_secs(1);
/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// After this time the server ends the session of a replica that has stopped asking.
pub(crate) const SESSION: [(&str, &str); 2] =
    [("idle_session_timeout", "3s"), ("statement_timeout", "2s")];

/// Whether this process leads; cheap to clone.
#[derive(Clone)]
pub struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// Of a process that has its database for itself.
    pub fn always() -> Self {
        Self(watch::Sender::new(true).subscribe())
    }

    /// Of a service whose database belongs to one process.
    pub(crate) fn alone(service: &str) -> Self {
        gauge(service).set(1.0);
        Self::always()
    }

    /// Asks for the lock as long as the process runs.
    pub(crate) fn elect(host: &mut Host, service: &str, session: PgConnectOptions) -> Self {
        let leads = watch::Sender::new(false);
        let leadership = Self(leads.subscribe());
        let shutdown = host.shutdown();
        let service = service.to_owned();
        host.spawn(&format!("{service} election"), async move {
            shutdown.run_until_cancelled(campaign(&service, &session, &leads)).await;
            leads.send_replace(false);
            Ok::<(), Infallible>(())
        });
        leadership
    }

    /// Whether it leads now.
    pub fn is_held(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it leads.
    pub async fn gained(&mut self) {
        self.changed_to(true).await;
    }

    /// Waits until it does not lead any more.
    pub async fn lost(&mut self) {
        // Two leaders at once: the fence is what makes them harmless.
        failpoint!(PublishWithoutTheFence => std::future::pending::<()>().await);
        self.changed_to(false).await;
    }

    async fn changed_to(&mut self, wanted: bool) {
        if self.0.wait_for(|leads| *leads == wanted).await.is_err() {
            // Nobody changes it any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer in time")]
    Silent(#[from] Elapsed),
}

async fn campaign(service: &str, session: &PgConnectOptions, leads: &watch::Sender<bool>) {
    let gauge = gauge(service);
    loop {
        gauge.set(0.0);
        let Err(ended) = hold(service, session, leads, &gauge).await;
        if leads.send_replace(false) {
            tracing::warn!(service, error = chassis::error::chain(&ended), "lost leadership");
        } else {
            tracing::info!(
                service,
                error = chassis::error::chain(&ended),
                "leader election failed"
            );
        }
        sleep(PING).await;
    }
}

fn gauge(service: &str) -> Gauge {
    metrics::describe_gauge!(
        "agora_leader",
        Unit::Count,
        "1 while this replica of a service runs its relay and its consumers"
    );
    metrics::gauge!("agora_leader", "service" => service.to_owned())
}

/// Waits for the lock, and holds it until something fails.
async fn hold(
    service: &str,
    session: &PgConnectOptions,
    leads: &watch::Sender<bool>,
    gauge: &Gauge,
) -> Result<Infallible, Ended> {
    let mut connection = timeout(ANSWER, session.connect()).await??;
    let mut every = interval(PING);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if *leads.borrow() {
            timeout(ANSWER, sqlx::query("SELECT 1").execute(&mut connection)).await??;
        } else if timeout(ANSWER, try_lock(&mut connection)).await?? {
            tracing::info!(service, "acquired leadership");
            gauge.set(1.0);
            leads.send_replace(true);
        }
    }
}

/// Waits for that lock as long as the session waits for locks: whoever has it, keeps services
/// from leading on the database.
pub(crate) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_lock('journal'::regclass::oid::bigint)")
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the lock of the service whose journal is in this database, or in this schema.
async fn try_lock(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock('journal'::regclass::oid::bigint)")
        .fetch_one(connection)
        .await
}
