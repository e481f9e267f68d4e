//! Following what the other replicas of a service commit: they share a database, and each
//! tells the others by `NOTIFY`. What is missed, is seen a second later.

use std::{convert::Infallible, time::Duration};

use bus_schema::Source;
use sqlx::{PgPool, Postgres, postgres::PgListener};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Position, Watermarks,
    database::{Backend as _, SqlResult},
};
use chassis::Host;

/// How often the database is looked at even if nobody says that it has changed.
const POLL: Duration = Duration::from_secs(1);
/// At most once in this time others are told.
const NOTIFY_EVERY: Duration = Duration::from_millis(5);

/// Starts to follow, and to tell others.
pub(crate) fn spawn(
    host: &mut Host,
    service: Source,
    consumes: &'static [Source],
    readers: &PgPool,
    watermarks: &Watermarks,
) {
    let follower =
        Follower { service, consumes, readers: readers.clone(), watermarks: watermarks.clone() };
    let shutdown = host.shutdown();
    host.spawn(&format!("{service} follower"), follower.clone().run(shutdown.clone()));
    host.spawn(&format!("{service} notifier"), async move {
        shutdown.run_until_cancelled(follower.notify()).await;
        Ok::<(), Infallible>(())
    });
}

#[derive(Clone)]
struct Follower {
    service: Source,
    consumes: &'static [Source],
    readers: PgPool,
    watermarks: Watermarks,
}

impl Follower {
    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let follow = async {
            loop {
                let Err(error) = self.follow().await;
                tracing::info!(service = %self.service, %error, "cannot listen to the database");
                sleep(POLL).await;
            }
        };
        shutdown.run_until_cancelled(follow).await;
        Ok(())
    }

    /// Raises the watermarks whenever somebody says that there is more.
    async fn follow(&self) -> SqlResult<Infallible> {
        let mut listener = PgListener::connect_with(&self.readers).await?;
        listener.listen(&self.channel().await?).await?;
        let mut poll = interval(POLL);
        loop {
            tokio::select! {
                notified = listener.recv() => drop(notified?),
                _ = poll.tick() => {}
            }
            // Taken before: what is committed meanwhile is no step back.
            let before = self.watermarks.reached();
            let position = self.position().await?;
            self.watermarks.raise(position);
            for source in self.consumes {
                // Another replica has rewound it.
                if position.get(*source) < before.get(*source) {
                    self.watermarks.revert(*source, position.get(*source));
                }
            }
        }
    }

    async fn position(&self) -> SqlResult<Position> {
        let mut connection = self.readers.acquire().await?;
        Postgres::position(&mut connection, self.service, self.consumes).await
    }

    /// Tells the others, not more often than [`NOTIFY_EVERY`]. It is said after the commit:
    /// in it, it would let all commits of the server wait for each other.
    async fn notify(&self) {
        let mut reached = self.watermarks.subscribe();
        let mut channel = None;
        while reached.changed().await.is_ok() {
            if let Err(error) = self.tell(&mut channel).await {
                tracing::debug!(service = %self.service, %error, "cannot notify the other replicas");
                sleep(POLL).await;
            }
            sleep(NOTIFY_EVERY).await;
        }
    }

    async fn tell(&self, channel: &mut Option<String>) -> SqlResult<()> {
        let name = match channel {
            Some(name) => name,
            None => channel.insert(self.channel().await?),
        };
        sqlx::query("SELECT pg_notify($1, '')").bind(name.as_str()).execute(&self.readers).await?;
        Ok(())
    }

    /// A channel of this service's own, whatever else is in the database.
    async fn channel(&self) -> SqlResult<String> {
        sqlx::query_scalar("SELECT 'agora_' || 'journal'::regclass::oid")
            .fetch_one(&self.readers)
            .await
    }
}
