//! The baseline: a tonic server that does nothing but answer.

use agora_proto::admin::v1::{
    GetViewDigestRequest, GetViewDigestResponse, RebuildViewRequest, RebuildViewResponse,
    SnapshotRequest, SnapshotResponse, TableDigest,
    view_service_server::{ViewService, ViewServiceServer},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::Result;

/// Answers every call with the same message.
struct Echo(GetViewDigestResponse);

#[tonic::async_trait]
impl ViewService for Echo {
    type RebuildViewStream = tokio_stream::Empty<Result<RebuildViewResponse, Status>>;
    type SnapshotStream = tokio_stream::Empty<Result<SnapshotResponse, Status>>;

    async fn get_view_digest(
        &self,
        _request: Request<GetViewDigestRequest>,
    ) -> Result<Response<GetViewDigestResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn rebuild_view(
        &self,
        _request: Request<RebuildViewRequest>,
    ) -> Result<Response<Self::RebuildViewStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn snapshot(
        &self,
        _request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

/// Serves empty answers, or ones of about `bytes` bytes, until the process is killed.
///
/// # Errors
/// If the port cannot be listened on.
pub async fn serve(port: u16, bytes: usize) -> Result {
    let mut answer = GetViewDigestResponse::default();
    if bytes > 0 {
        answer.tables.push(TableDigest { hash: vec![b'x'; bytes], ..Default::default() });
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    Server::builder()
        .tcp_nodelay(true)
        .add_service(ViewServiceServer::new(Echo(answer)))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
