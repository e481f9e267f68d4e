//! What is measured of a journal and its stream, beside the relay: whatever that hangs at,
//! and on replicas that do not lead, too.

use std::{convert::Infallible, time::Duration};

use bus_schema::{Event, Sequence, Source, Time};
use metrics::{Gauge, Unit};
use sqlx::Pool;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::stream::{Extent, Remote};
use crate::{Watermarks, database::Backend, gate::Gate};
use chassis::Host;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the stream and the journal may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Measures a journal and its stream as long as the host runs.
pub(crate) fn watch<B: Backend>(
    host: &mut Host,
    remote: Remote,
    readers: Pool<B>,
    watermarks: Watermarks,
    gate: watch::Receiver<Gate>,
) {
    let source = remote.source();
    let gauges = Gauges::new(source);
    let mut watched = Watched { remote, readers, stored: Sequence::ZERO, oldest: None };
    let shutdown = host.shutdown();
    host.spawn(&format!("{source} relay watch"), async move {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            let extent = watched.ask_stream().await;
            let head = watermarks.reached().get(source);
            watched.find_oldest(head).await;
            let is_open = *gate.borrow() == Gate::Open;
            gauges.set(extent, head, &watched, is_open);
        }
        Ok::<(), Infallible>(())
    });
}

/// A journal, its stream, and what is known of both.
struct Watched<B: Backend> {
    remote: Remote,
    readers: Pool<B>,
    /// The last event that the stream is known to hold.
    stored: Sequence,
    /// The oldest event that it does not hold, and when it happened.
    oldest: Option<(Sequence, Time)>,
}

impl<B: Backend> Watched<B> {
    async fn ask_stream(&mut self) -> Option<Extent> {
        let extent = timeout(ANSWER, self.remote.extent()).await.ok()?.ok()?;
        // A stream that is absent holds nothing.
        self.stored = extent.map_or(Sequence::ZERO, |extent| extent.last);
        extent
    }

    /// Looks for the oldest event that the stream lacks, unless it is known.
    async fn find_oldest(&mut self, head: Sequence) {
        let wanted = self.stored.next();
        if wanted > head {
            self.oldest = None;
        } else if self.oldest.is_none_or(|(known, _)| known != wanted) {
            // While the journal does not answer, the one that was known is old enough.
            if let Ok(Some(time)) = timeout(ANSWER, self.time_of(wanted)).await {
                self.oldest = Some((wanted, time));
            }
        }
    }

    async fn time_of(&self, sequence: Sequence) -> Option<Time> {
        let mut connection = self.readers.acquire().await.ok()?;
        let rows = B::rows(&mut connection, sequence, 1).await.ok()?;
        // One of a type that this program does not know has no time that it can read.
        Event::decode(rows.into_iter().next()?.event).ok().map(|event| event.time)
    }
}

struct Gauges {
    journal: Gauge,
    lag_events: Gauge,
    lag_seconds: Gauge,
    bytes: Gauge,
    max_bytes: Gauge,
    writes_open: Gauge,
}

impl Gauges {
    fn new(source: Source) -> Self {
        metrics::describe_gauge!(
            "agora_journal_sequence",
            Unit::Count,
            "The last event of a source's journal"
        );
        metrics::describe_gauge!(
            "agora_relay_lag_events",
            Unit::Count,
            "How many events of a source's journal its stream does not hold"
        );
        metrics::describe_gauge!(
            "agora_relay_lag_seconds",
            Unit::Seconds,
            "The age of the oldest event of a source's journal that its stream does not hold"
        );
        metrics::describe_gauge!(
            "agora_stream_bytes",
            Unit::Bytes,
            "How much a source's stream holds"
        );
        metrics::describe_gauge!(
            "agora_stream_max_bytes",
            Unit::Bytes,
            "How much a source's stream may hold; 0 if that is not limited"
        );
        metrics::describe_gauge!(
            "agora_writes_open",
            Unit::Count,
            "1 while a source takes writes; 0 while its journal is not known to agree with its stream"
        );
        let source = source.as_str();
        Self {
            journal: metrics::gauge!("agora_journal_sequence", "source" => source),
            lag_events: metrics::gauge!("agora_relay_lag_events", "source" => source),
            lag_seconds: metrics::gauge!("agora_relay_lag_seconds", "source" => source),
            bytes: metrics::gauge!("agora_stream_bytes", "source" => source),
            max_bytes: metrics::gauge!("agora_stream_max_bytes", "source" => source),
            writes_open: metrics::gauge!("agora_writes_open", "source" => source),
        }
    }

    fn set<B: Backend>(
        &self,
        extent: Option<Extent>,
        head: Sequence,
        watched: &Watched<B>,
        is_open: bool,
    ) {
        self.journal.set(head.0 as f64);
        self.lag_events.set(head.0.saturating_sub(watched.stored.0) as f64);
        let age = watched.oldest.map_or(Duration::ZERO, |(_, time)| time.elapsed());
        self.lag_seconds.set(age.as_secs_f64());
        if let Some(extent) = extent {
            self.bytes.set(extent.bytes as f64);
            self.max_bytes.set(extent.max_bytes.unwrap_or(0) as f64);
        }
        self.writes_open.set(f64::from(u8::from(is_open)));
    }
}
