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
use chassis::{Call, page::Sealer, status};
use eventstore::{Position, Watermarks};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::{fallback::Fallback, incomplete::Incomplete, pages::Pages, store::Reader};

pub(crate) use admin::Views;
pub(crate) use server::Server;

/// The service, as gRPC calls it; cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) reader: Reader,
    pub(crate) watermarks: Watermarks,
    pub(crate) sealer: Sealer,
    pub(crate) pages: Arc<Pages>,
    pub(crate) incomplete: Incomplete,
    pub(crate) fallback: Option<Fallback>,
}

impl Service {
    /// Who answers instead of the view, if it is too far behind.
    fn owners(&self) -> Option<&Fallback> {
        self.fallback.as_ref().filter(|fallback| fallback.is_on())
    }

    /// A moment whose state the view is known to include.
    fn as_of(&self, reached: Position) -> Option<Timestamp> {
        Some(self.fallback.as_ref()?.view_as_of(reached)?.into())
    }
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
