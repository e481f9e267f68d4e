//! Requests become commands and reads; posts become answers.

mod encode;
mod read;
mod write;

use agora_proto::post::v1::{
    ClosePostRequest, ClosePostResponse, CreatePostRequest, CreatePostResponse, DeletePostRequest,
    DeletePostResponse, GetPostRequest, GetPostResponse, ListPostsRequest, ListPostsResponse,
    ReopenPostRequest, ReopenPostResponse, UpdatePostRequest, UpdatePostResponse,
    post_service_server::PostService,
};
use chassis::{Call, Keys, page::Sealer, status};
use eventstore::{Watermarks, committer::Committer};
use tonic::{Request, Response, Status};

use crate::store::Store;

/// The service, as gRPC calls it.
pub(crate) struct Service<S: Store> {
    pub(crate) committer: Committer<S>,
    pub(crate) reader: S::Reader,
    pub(crate) watermarks: Watermarks,
    pub(crate) sealer: Sealer,
    pub(crate) keys: Keys,
}

#[tonic::async_trait]
impl<S: Store> PostService for Service<S> {
    async fn create_post(
        &self,
        request: Request<CreatePostRequest>,
    ) -> Result<Response<CreatePostResponse>, Status> {
        let (call, message) = Call::open(request);
        self.create(call, message).await.map(Response::new).map_err(status)
    }

    async fn get_post(
        &self,
        request: Request<GetPostRequest>,
    ) -> Result<Response<GetPostResponse>, Status> {
        let (call, message) = Call::open(request);
        self.get(call, message).await.map(Response::new).map_err(status)
    }

    async fn list_posts(
        &self,
        request: Request<ListPostsRequest>,
    ) -> Result<Response<ListPostsResponse>, Status> {
        let (call, message) = Call::open(request);
        self.list(call, message).await.map(Response::new).map_err(status)
    }

    async fn update_post(
        &self,
        request: Request<UpdatePostRequest>,
    ) -> Result<Response<UpdatePostResponse>, Status> {
        let (call, message) = Call::open(request);
        self.update(call, message).await.map(Response::new).map_err(status)
    }

    async fn delete_post(
        &self,
        request: Request<DeletePostRequest>,
    ) -> Result<Response<DeletePostResponse>, Status> {
        let (call, message) = Call::open(request);
        self.delete(call, message).await.map(Response::new).map_err(status)
    }

    async fn close_post(
        &self,
        request: Request<ClosePostRequest>,
    ) -> Result<Response<ClosePostResponse>, Status> {
        let (call, message) = Call::open(request);
        self.close(call, message).await.map(Response::new).map_err(status)
    }

    async fn reopen_post(
        &self,
        request: Request<ReopenPostRequest>,
    ) -> Result<Response<ReopenPostResponse>, Status> {
        let (call, message) = Call::open(request);
        self.reopen(call, message).await.map(Response::new).map_err(status)
    }
}
