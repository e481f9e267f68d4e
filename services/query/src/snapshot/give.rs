use std::{io, sync::Arc, time::Duration};

use agora_proto::admin::v1::{SnapshotHeader, SnapshotResponse, snapshot_response::Part};
use bus_schema::Installation;
use chassis::{Explain, Host, error::Fault, status};
use eventstore::{Position, database::OpenError};
use tokio::{
    fs::File,
    io::AsyncReadExt as _,
    sync::{Mutex, OwnedMutexGuard, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{CHUNK, hash};
use crate::{
    consumer::Folder,
    ready::Complete,
    rebuild::{RebuildError, Rebuilder},
    slots::{self, Slots},
    store::{self, Description},
};

/// How many messages wait for a replica that is slow.
const MAX_WAITING: usize = 1;
/// How long it may take no further message.
const PATIENCE: Duration = Duration::from_secs(30);
/// When another one may ask again.
const AGAIN: Duration = Duration::from_secs(2);

/// Gives snapshots to new replicas, one at a time; cheap to clone.
#[derive(Clone)]
pub(crate) struct Giver {
    slots: Slots,
    folder: Folder,
    rebuilder: Rebuilder,
    complete: Complete,
    installation: Installation,
    shutdown: CancellationToken,
    giving: Arc<Mutex<()>>,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Chassis(#[from] chassis::Error),
    #[error("another replica is being sent a snapshot")]
    Running,
    #[error("the view is being rebuilt")]
    Rebuilding(#[source] RebuildError),
    #[error("the view has not caught up with the streams yet")]
    NotComplete,
    #[error("cannot use the snapshot's file")]
    File(#[from] io::Error),
    #[error("cannot copy the view")]
    Copy(#[from] OpenError),
    #[error("cannot read the snapshot")]
    Sql(#[from] sqlx::Error),
    #[error("the receiver has disconnected, or reads too slowly")]
    Abandoned,
}

impl Explain for SnapshotError {
    fn fault(&self) -> Fault {
        match self {
            Self::Chassis(error) => error.fault(),
            Self::Running => {
                Fault::new(Code::ResourceExhausted, "SNAPSHOT_RUNNING").retry_after(AGAIN)
            }
            Self::Rebuilding(_) => Fault::new(Code::FailedPrecondition, "REBUILD_RUNNING"),
            Self::NotComplete => {
                Fault::new(Code::Unavailable, "VIEW_NOT_CAUGHT_UP").retry_after(AGAIN)
            }
            Self::Abandoned => Fault::new(Code::Cancelled, "SNAPSHOT_ABANDONED"),
            Self::File(_) | Self::Copy(_) | Self::Sql(_) => {
                Fault::new(Code::Internal, "SNAPSHOT_FAILED")
            }
        }
    }
}

/// Who is sent the snapshot.
type Receiver = mpsc::Sender<Result<SnapshotResponse, Status>>;

impl Giver {
    pub(crate) fn new(
        host: &Host,
        slots: Slots,
        folder: Folder,
        rebuilder: Rebuilder,
        complete: Complete,
    ) -> Self {
        let (shutdown, giving) = (host.shutdown(), Arc::default());
        let installation = host.bus().installation().clone();
        Self { slots, folder, rebuilder, complete, installation, shutdown, giving }
    }

    /// Makes a snapshot and sends it.
    pub(crate) fn give(
        &self,
    ) -> Result<ReceiverStream<Result<SnapshotResponse, Status>>, SnapshotError> {
        if !self.complete.get() {
            return Err(SnapshotError::NotComplete);
        }
        let giving = self.giving.clone().try_lock_owned().map_err(|_| SnapshotError::Running)?;
        let no_rebuild = self.rebuilder.keep_away().map_err(SnapshotError::Rebuilding)?;
        let (receiver, messages) = mpsc::channel(MAX_WAITING);
        let giver = self.clone();
        tokio::spawn(async move {
            let given = tokio::select! {
                given = giver.make_and_send(no_rebuild, &receiver) => given,
                () = receiver.closed() => Err(SnapshotError::Abandoned),
                () = giver.shutdown.cancelled() => Err(chassis::Error::ShuttingDown.into()),
            };
            if let Err(error) = slots::remove(&giver.slots.copied()) {
                tracing::warn!(%error, "cannot delete the snapshot's file: it stays until the next start");
            }
            if let Err(error) = given {
                let error = status(error);
                tracing::warn!(error = error.message(), "cannot send a snapshot");
                receiver.send(Err(error)).await.ok();
            }
            drop(giving);
        });
        Ok(ReceiverStream::new(messages))
    }

    async fn make_and_send(
        &self,
        no_rebuild: OwnedMutexGuard<()>,
        receiver: &Receiver,
    ) -> Result<(), SnapshotError> {
        let path = self.slots.copied();
        slots::remove(&path)?;
        // Of what is parked and the view, the view is copied first: a dead letter that was
        // applied in between would be in neither copy.
        let paused = self.folder.pause_repairs();
        drop(self.folder.freeze(Position::ZERO).await?);
        store::copy(&self.slots.serving()?, &self.slots.letters(), &path).await?;
        drop((paused, no_rebuild));

        let Description { schema_version, position } = store::describe(&path).await?;
        let (size, hash) = hash(&path).await?;
        tracing::info!(%position, size, "sending a snapshot to a replica");
        let header = SnapshotHeader {
            size,
            hash: hash.as_bytes().to_vec(),
            schema_version,
            position: position.to_string(),
            installation: self.installation.to_string(),
        };
        send(receiver, Part::Header(header)).await?;
        let mut file = File::open(&path).await?;
        loop {
            let mut data = Vec::with_capacity(CHUNK);
            while data.len() < CHUNK && file.read_buf(&mut data).await? > 0 {}
            if data.is_empty() {
                return Ok(());
            }
            send(receiver, Part::Data(data)).await?;
        }
    }
}

async fn send(receiver: &Receiver, part: Part) -> Result<(), SnapshotError> {
    let message = SnapshotResponse { part: Some(part) };
    match timeout(PATIENCE, receiver.send(Ok(message))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(SnapshotError::Abandoned),
    }
}
