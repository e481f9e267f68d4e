//! Journal and stream are made to agree before a relay publishes: the stream's tail is
//! imported, a damaged stream is refilled.

use std::time::Duration;

use bus_schema::{Checkpoint, Sequence};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    compare::{Finding, compare},
    run::{CHUNK, Ended, Relay},
    stream::Extent,
    verify::{Verified, verify},
};
use crate::{
    consumer::{
        MAX_READ_AHEAD,
        read::{ReadError, fill, read},
    },
    domain::{Domain, Store},
    gate::Gate,
    journal::Row,
};
use chassis::failpoint;

/// How long a stream may be silent while its tail is imported.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

impl<S: Store> Relay<S> {
    /// Compares journal and stream, and heals what can be healed, until the stream
    /// equals the journal up to the stream's end, which is returned.
    pub(super) async fn agree(&mut self) -> Result<Checkpoint, Ended> {
        loop {
            match compare::<S::Backend>(&self.remote, &self.readers).await? {
                Finding::Shorter(end) => return Ok(end),
                Finding::Longer { journal, .. } if failpoint!(TailNotImported) => {
                    return Ok(journal);
                }
                Finding::Absent if !self.leadership.is_held() => {
                    return Err(Ended::NotLeading("create the stream"));
                }
                Finding::Longer { .. } if !self.leadership.is_held() => {
                    return Err(Ended::NotLeading("import the stream's tail"));
                }
                Finding::Absent => {
                    tracing::info!(stream = self.remote.name(), "stream missing: creating it");
                    self.remote.create().await.map_err(Ended::Create)?;
                    self.damage.within(false);
                }
                Finding::Longer { journal, stream } => self.import(journal, stream).await?,
                Finding::Foreign(what) => return Err(Ended::Foreign(what)),
                Finding::Differs(what) => return Err(Ended::Halted(what)),
                Finding::Damaged { what, journal, stream } => {
                    self.refill(what, journal, stream).await?;
                }
            }
        }
    }

    /// Deletes a damaged stream, so that it is made anew, once the journal was proven to
    /// hold all that it can still show.
    pub(super) async fn refill(
        &self,
        what: String,
        journal: Sequence,
        stream: Extent,
    ) -> Result<(), Ended> {
        let may_write = journal >= stream.last;
        // An order is for one try, whatever comes of it.
        let refills = self.healing.orders.take_refill() || self.healing.refills;
        if !refills || !self.leadership.is_held() {
            return Err(Ended::Damaged { what, may_write });
        }

        failpoint!(RefillWithoutProof => return self.remote.delete().await.map_err(Ended::Delete));
        tracing::warn!(
            stream = self.remote.name(),
            what,
            "verifying the journal before refilling the stream"
        );
        match verify::<S::Backend>(&self.remote, &self.readers, stream, &|_, _, _| {}).await? {
            Verified::Held { damaged } => {
                tracing::warn!(
                    stream = self.remote.name(),
                    damaged,
                    of = stream.last.0,
                    "the journal holds everything: recreating the stream"
                );
                self.remote.delete().await.map_err(Ended::Delete)
            }
            Verified::Differs(at) => {
                Err(Ended::Halted(format!("{what}; and at {at} it holds another event")))
            }
            Verified::Broken(at) => Err(Ended::Halted(format!(
                "{what}; and the journal has a broken hash chain at {at}"
            ))),
            Verified::TooShort(end) => {
                let what = format!("{what}; and the journal ends with {end}, before it");
                Err(Ended::Damaged { what, may_write: false })
            }
        }
    }

    /// Imports what the stream holds beyond the journal.
    async fn import(&mut self, journal: Checkpoint, stream: Sequence) -> Result<(), Ended> {
        self.committer.set_gate(Gate::Comparing("the stream's tail is being imported".into()));
        tracing::info!(from = journal.sequence.0, to = stream.0, "importing the stream's tail");

        let (events, mut delivered) = mpsc::channel(MAX_READ_AHEAD);
        let bus = self.remote.bus().clone();
        let reader = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut read_to = journal;
            read(&bus, S::Domain::SOURCE, &mut read_to, &events).await
        }));
        let mut imported = journal.sequence;
        while imported < stream {
            let mut deliveries = Vec::new();
            let received = fill(&mut deliveries, CHUNK as usize, &mut delivered);
            if !timeout(SILENCE, received).await.map_err(|_| Ended::Silent)? {
                break;
            }
            let rows: Vec<Row> = deliveries
                .into_iter()
                .map(|event| Row { sequence: event.sequence, hash: event.hash, event: event.bytes })
                .collect();
            imported = rows.last().map_or(imported, |row| row.sequence);
            self.committer.import(rows).await.map_err(Ended::Import)?;
            tracing::info!(imported = imported.0, of = stream.0, "importing");
        }
        if imported >= stream {
            return Ok(());
        }
        Err(match reader.await.unwrap_or(ReadError::Stopped) {
            error @ (ReadError::Differs { .. } | ReadError::Damaged { .. }) => {
                Ended::Halted(error.to_string())
            }
            error => error.into(),
        })
    }
}
