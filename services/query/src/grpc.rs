//! Requests become reads; posts and comments become answers.

mod admin;
mod encode;
mod feed;
mod server;
mod thread;

use std::sync::Arc;

use agora_proto::query::v1::{
    GetThreadRequest, GetThreadResponse, ListFeedRequest, ListFeedResponse,
    query_service_server::QueryService,
};
use chassis::{Call, Watermarks, page::Sealer, status};
use tonic::{Request, Response, Status};

use crate::{pages::Pages, store::Reader};

pub(crate) use admin::Views;
pub(crate) use server::Server;

/// The service, as gRPC calls it; cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) reader: Reader,
    pub(crate) watermarks: Watermarks,
    pub(crate) sealer: Sealer,
    pub(crate) pages: Arc<Pages>,
}

#[tonic::async_trait]
impl QueryService for Service {
    async fn get_thread(
        &self,
        request: Request<GetThreadRequest>,
    ) -> Result<Response<GetThreadResponse>, Status> {
        let (call, message) = Call::open(request);
        self.thread(call, message).await.map(Response::new).map_err(status)
    }

    async fn list_feed(
        &self,
        request: Request<ListFeedRequest>,
    ) -> Result<Response<ListFeedResponse>, Status> {
        let (call, message) = Call::open(request);
        self.feed(call, message).await.map(Response::new).map_err(status)
    }
}
