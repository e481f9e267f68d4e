//! Requests become commands and reads; cases and policies become answers.

mod encode;
mod parse;
mod read;
mod write;

use agora_proto::moderation::v1::{
    ApproveRevisionRequest, ApproveRevisionResponse, GetCaseRequest, GetCaseResponse,
    GetPolicyRequest, GetPolicyResponse, ListCasesRequest, ListCasesResponse,
    RejectRevisionRequest, RejectRevisionResponse, SetPolicyRequest, SetPolicyResponse,
    moderation_service_server::ModerationService,
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
impl<S: Store> ModerationService for Service<S> {
    async fn get_policy(
        &self,
        request: Request<GetPolicyRequest>,
    ) -> Result<Response<GetPolicyResponse>, Status> {
        let (call, message) = Call::open(request);
        self.policy(call, message).await.map(Response::new).map_err(status)
    }

    async fn set_policy(
        &self,
        request: Request<SetPolicyRequest>,
    ) -> Result<Response<SetPolicyResponse>, Status> {
        let (call, message) = Call::open(request);
        self.replace_policy(call, message).await.map(Response::new).map_err(status)
    }

    async fn list_cases(
        &self,
        request: Request<ListCasesRequest>,
    ) -> Result<Response<ListCasesResponse>, Status> {
        let (call, message) = Call::open(request);
        self.list(call, message).await.map(Response::new).map_err(status)
    }

    async fn get_case(
        &self,
        request: Request<GetCaseRequest>,
    ) -> Result<Response<GetCaseResponse>, Status> {
        let (call, message) = Call::open(request);
        self.get(call, message).await.map(Response::new).map_err(status)
    }

    async fn approve_revision(
        &self,
        request: Request<ApproveRevisionRequest>,
    ) -> Result<Response<ApproveRevisionResponse>, Status> {
        let (call, message) = Call::open(request);
        self.approve(call, message).await.map(Response::new).map_err(status)
    }

    async fn reject_revision(
        &self,
        request: Request<RejectRevisionRequest>,
    ) -> Result<Response<RejectRevisionResponse>, Status> {
        let (call, message) = Call::open(request);
        self.reject(call, message).await.map(Response::new).map_err(status)
    }
}
