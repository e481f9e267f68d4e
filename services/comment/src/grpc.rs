//! Requests become commands and reads; comments become answers.

mod encode;
mod read;
mod write;

use agora_proto::comment::v1::{
    CreateCommentRequest, CreateCommentResponse, DeleteCommentRequest, DeleteCommentResponse,
    GetCommentRequest, GetCommentResponse, ListCommentsRequest, ListCommentsResponse,
    UpdateCommentRequest, UpdateCommentResponse, comment_service_server::CommentService,
};
use chassis::{Call, Keys, page::Sealer, status};
use eventstore::{Watermarks, committer::Committer};
use tonic::{Request, Response, Status};

use crate::{posts::Posts, store::Store};

/// The service, as gRPC calls it.
pub(crate) struct Service<S: Store> {
    pub(crate) committer: Committer<S>,
    pub(crate) reader: S::Reader,
    pub(crate) watermarks: Watermarks,
    pub(crate) posts: Posts,
    pub(crate) sealer: Sealer,
    pub(crate) keys: Keys,
}

#[tonic::async_trait]
impl<S: Store> CommentService for Service<S> {
    async fn create_comment(
        &self,
        request: Request<CreateCommentRequest>,
    ) -> Result<Response<CreateCommentResponse>, Status> {
        let (call, message) = Call::open(request);
        self.create(call, message).await.map(Response::new).map_err(status)
    }

    async fn get_comment(
        &self,
        request: Request<GetCommentRequest>,
    ) -> Result<Response<GetCommentResponse>, Status> {
        let (call, message) = Call::open(request);
        self.get(call, message).await.map(Response::new).map_err(status)
    }

    async fn list_comments(
        &self,
        request: Request<ListCommentsRequest>,
    ) -> Result<Response<ListCommentsResponse>, Status> {
        let (call, message) = Call::open(request);
        self.list(call, message).await.map(Response::new).map_err(status)
    }

    async fn update_comment(
        &self,
        request: Request<UpdateCommentRequest>,
    ) -> Result<Response<UpdateCommentResponse>, Status> {
        let (call, message) = Call::open(request);
        self.update(call, message).await.map(Response::new).map_err(status)
    }

    async fn delete_comment(
        &self,
        request: Request<DeleteCommentRequest>,
    ) -> Result<Response<DeleteCommentResponse>, Status> {
        let (call, message) = Call::open(request);
        self.delete(call, message).await.map(Response::new).map_err(status)
    }
}
