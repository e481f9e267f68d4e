//! Asking the post service for a post that was not heard of yet.

use std::time::Duration;

use agora_proto::post::v1::{
    GetPostRequest, GetPostResponse, PostState as Answered, get_post_request::Key,
    post_service_client::PostServiceClient,
};
use bus_schema::{PostId, PostState, Site};
use chassis::{
    StartError,
    dial::{Target, Traced},
};
use eventstore::Position;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Response, Status};

use crate::{Error, PostService};

/// How often it is tried to reach the post service.
const MAX_TRIES: u32 = 3;
/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// The post service, connected when it is first asked.
#[derive(Clone)]
pub(crate) struct Posts {
    client: PostServiceClient<Traced>,
    timeout: Duration,
}

impl Posts {
    pub(crate) fn new(settings: &PostService) -> Result<Self, StartError> {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let target: Target = settings.url.parse().map_err(|error| {
            let url = &settings.url;
            StartError::Other(format!("post_service.url is no address: {url}: {error}").into())
        })?;
        Ok(Self { client: PostServiceClient::new(target.balanced()), timeout })
    }

    /// Asks the next replica if one cannot be reached: it may have just gone away.
    async fn get(&self, request: GetPostRequest) -> Result<Response<GetPostResponse>, Status> {
        for _ in 1..MAX_TRIES {
            match self.try_get(request.clone()).await {
                Err(status) if status.code() == Code::Unavailable => sleep(PAUSE).await,
                answer => return answer,
            }
        }
        self.try_get(request).await
    }

    async fn try_get(&self, request: GetPostRequest) -> Result<Response<GetPostResponse>, Status> {
        let mut request = Request::new(request);
        request.set_timeout(self.timeout);
        self.client.clone().get_post(request).await
    }

    /// Asks once for a post's state; the position is that of the answer.
    pub(crate) async fn ask(
        &self,
        site: &Site,
        post_id: PostId,
    ) -> Result<(PostState, Position), Error> {
        let request = GetPostRequest {
            site: site.to_string(),
            key: Some(Key::PostId(post_id.to_string())),
            position: String::new(),
        };
        let answer = timeout(self.timeout, self.get(request))
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Err(Error::PostNotFound),
            Err(status) => return Err(Error::PostServiceUnavailable(Box::new(status))),
        };
        let state = match answer.post.ok_or(Error::PostNotFound)?.state() {
            Answered::Closed => PostState::Closed,
            Answered::Deleted => PostState::Deleted,
            Answered::Open | Answered::Unspecified => PostState::Open,
        };
        Ok((state, answer.position.parse().unwrap_or_default()))
    }
}
