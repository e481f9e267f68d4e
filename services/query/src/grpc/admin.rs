use agora_proto::admin::v1::{
    GetViewDigestRequest, GetViewDigestResponse, RebuildPhase, RebuildViewRequest,
    RebuildViewResponse, SnapshotRequest, SnapshotResponse, TableDigest,
    view_service_server::ViewService,
};
use chassis::{Call, Error, status};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    rebuild::{Phase, Progress, Rebuilder, Wanted},
    snapshot::Giver,
    store::Reader,
};

/// How many messages wait for a caller that is slow.
const MAX_WAITING: usize = 4;

/// The view, for operators.
pub(crate) struct Views {
    pub(crate) reader: Reader,
    pub(crate) rebuilder: Rebuilder,
    pub(crate) giver: Giver,
}

#[tonic::async_trait]
impl ViewService for Views {
    type RebuildViewStream = ReceiverStream<Result<RebuildViewResponse, Status>>;
    type SnapshotStream = ReceiverStream<Result<SnapshotResponse, Status>>;

    async fn get_view_digest(
        &self,
        request: Request<GetViewDigestRequest>,
    ) -> Result<Response<GetViewDigestResponse>, Status> {
        let (call, GetViewDigestRequest {}) = Call::open(request);
        call.caller.authorize_everywhere().map_err(status)?;
        let digest = self.reader.digest().await.map_err(|error| status(Error::from(error)))?;
        let parked = self.reader.parked().await.map_err(|error| status(Error::from(error)))?;
        let tables = digest.tables.into_iter().map(|table| TableDigest {
            table: table.table.to_owned(),
            rows: table.rows,
            hash: table.hash.to_vec(),
        });
        Ok(Response::new(GetViewDigestResponse {
            position: digest.position.to_string(),
            tables: tables.collect(),
            parked,
        }))
    }

    async fn rebuild_view(
        &self,
        request: Request<RebuildViewRequest>,
    ) -> Result<Response<Self::RebuildViewStream>, Status> {
        let (call, RebuildViewRequest { undo, accept_differences }) = Call::open(request);
        call.caller.authorize_everywhere().map_err(status)?;
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let rebuilder = self.rebuilder.clone();
        tokio::spawn(async move {
            let (listener, mut progress) = mpsc::channel(1);
            let run = rebuilder.run(Wanted { undo, accept_differences }, &listener);
            let tell = async {
                while let Some(progress) = progress.recv().await {
                    if sender.send(Ok(encode(progress))).await.is_err() {
                        return;
                    }
                }
            };
            tokio::pin!(run);
            let ended = tokio::select! {
                ended = &mut run => ended,
                () = tell => return,
                () = sender.closed() => return,
            };
            if let Err(error) = ended {
                sender.send(Err(status(error))).await.ok();
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let (call, SnapshotRequest {}) = Call::open(request);
        call.caller.authorize_everywhere().map_err(status)?;
        self.giver.give().map(Response::new).map_err(status)
    }
}

fn encode(progress: Progress) -> RebuildViewResponse {
    let phase = match progress.phase {
        Phase::Folding => RebuildPhase::Folding,
        Phase::Indexing => RebuildPhase::Indexing,
        Phase::Comparing => RebuildPhase::Comparing,
        Phase::Switched => RebuildPhase::Switched,
    };
    RebuildViewResponse { phase: phase.into(), done: progress.done, total: progress.total }
}
