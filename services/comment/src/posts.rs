//! Asking the post service for a post that was not heard of yet.

use std::time::Duration;

use agora_proto::post::v1::{
    GetPostRequest, PostState as Answered, get_post_request::Key,
    post_service_client::PostServiceClient,
};
use bus_schema::{PostId, Site};
use chassis::{Position, StartError};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::{Error, PostService, domain::PostState};

/// The post service, connected when it is first asked.
#[derive(Clone)]
pub(crate) struct Posts {
    client: PostServiceClient<Channel>,
    timeout: Duration,
}

impl Posts {
    pub(crate) fn new(settings: &PostService) -> Result<Self, StartError> {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let endpoint = Endpoint::from_shared(settings.url.clone()).map_err(|error| {
            let url = &settings.url;
            StartError::Other(format!("post_service.url is no address: {url}: {error}").into())
        })?;
        let channel = endpoint.connect_timeout(timeout).connect_lazy();
        Ok(Self { client: PostServiceClient::new(channel), timeout })
    }

    /// Asks once for a post's state; the position is that of the answer.
    pub(crate) async fn ask(
        &self,
        site: &Site,
        post_id: PostId,
    ) -> Result<(PostState, Position), Error> {
        let mut request = Request::new(GetPostRequest {
            site: site.to_string(),
            key: Some(Key::PostId(post_id.to_string())),
            position: String::new(),
        });
        request.set_timeout(self.timeout);
        let answer = tokio::time::timeout(self.timeout, self.client.clone().get_post(request))
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
