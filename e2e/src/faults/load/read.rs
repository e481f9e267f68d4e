//! Who reads without a token.

use agora_proto::query::v1::{
    GetThreadRequest, ServedFrom, ThreadComment, Visibility, get_thread_request::Post,
};
use rand::RngExt as _;
use tonic::Request;

use super::{CALL, Caller};
use crate::{Result, faults::SITE};

impl Caller {
    /// Reads threads as everybody, and remembers what was shown.
    pub(super) async fn read(mut self) -> Result {
        while self.goes_on() {
            let post = self.rng.random_range(0..self.shared.posts.len());
            let request = GetThreadRequest {
                site: SITE.into(),
                post: Some(Post::PostId(self.shared.posts[post].clone())),
                page_size: 20,
                ..Default::default()
            };
            let mut request = Request::new(request);
            request.set_timeout(CALL);
            if let Ok(answer) = self.client.query.clone().get_thread(request).await {
                let answer = answer.into_inner();
                let mut told = self.shared.record.told();
                told.reads += 1;
                told.from_owners += u64::from(answer.served_from() == ServedFrom::Owners);
                for comment in answer.comments {
                    let ThreadComment { comment_id, revision, body, deleted, .. } = &comment;
                    if comment.visibility() != Visibility::Public {
                        told.findings.push(format!("I7: {comment_id} is shown and not public"));
                    }
                    if !deleted {
                        told.seen.insert((comment_id.parse()?, *revision, body.clone()));
                    }
                }
            }
            self.rest().await;
        }
        Ok(())
    }
}
