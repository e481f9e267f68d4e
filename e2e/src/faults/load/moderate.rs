//! Who works the queue.

use std::time::{Duration, Instant};

use agora_proto::moderation::v1::{
    ApproveRevisionRequest, Case, ListCasesRequest, RejectRevisionRequest,
};
use rand::RngExt as _;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Caller, Outcome};
use crate::{
    Result,
    faults::{SITE, record::What},
};

impl Caller {
    /// Works the queue; now and then two moderators decide at the same time.
    pub(super) async fn moderate(mut self) -> Result {
        while self.goes_on() {
            self.is_taken_back();
            let request =
                ListCasesRequest { site: SITE.into(), page_size: 5, ..Default::default() };
            let moderation = self.client.moderation.clone();
            let call = |request| {
                let mut moderation = moderation.clone();
                async move { moderation.list_cases(request).await }
            };
            if let Outcome::Done(answer) = self.until_answered(&request, call).await {
                for case in answer.cases {
                    if !self.goes_on() {
                        break;
                    }
                    let both = self.rng.random_bool(0.3);
                    self.decide(&case, both).await?;
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn decide(&mut self, case: &Case, both: bool) -> Result {
        let approves = self.rng.random_bool(0.5);
        if both {
            // Of two concurrent ones one loses (I8).
            let (approved, rejected) = tokio::join!(self.approve(case), self.reject(case));
            let (approved, rejected) = (approved?, rejected?);
            if approved && rejected {
                let id = &case.revision_id;
                self.finding(format!("I8: {id} was approved and rejected at once"));
            }
        } else if approves {
            self.approve(case).await?;
        } else {
            self.reject(case).await?;
        }
        Ok(())
    }

    /// Whether it was carried out.
    async fn approve(&self, case: &Case) -> Result<bool> {
        let request_id = Uuid::now_v7();
        let request = ApproveRevisionRequest {
            site: SITE.into(),
            comment_id: case.comment_id.clone(),
            revision_id: case.revision_id.clone(),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let (moderation, begun) = (self.client.moderation.clone(), Instant::now());
        let call = |request| {
            let mut moderation = moderation.clone();
            async move { moderation.approve_revision(request).await }
        };
        let outcome = self.until_answered(&request, call).await;
        self.decided(begun, case, request_id, outcome, true)
    }

    async fn reject(&self, case: &Case) -> Result<bool> {
        let request_id = Uuid::now_v7();
        let request = RejectRevisionRequest {
            site: SITE.into(),
            comment_id: case.comment_id.clone(),
            revision_id: case.revision_id.clone(),
            reason: "spam".into(),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let (moderation, begun) = (self.client.moderation.clone(), Instant::now());
        let call = |request| {
            let mut moderation = moderation.clone();
            async move { moderation.reject_revision(request).await }
        };
        let outcome = self.until_answered(&request, call).await;
        self.decided(begun, case, request_id, outcome, false)
    }

    fn decided<T>(
        &self,
        begun: Instant,
        case: &Case,
        request_id: Uuid,
        outcome: Outcome<T>,
        approved: bool,
    ) -> Result<bool> {
        match outcome {
            Outcome::Done(_) => {
                let what = What::Decision {
                    id: case.comment_id.parse()?,
                    revision_id: case.revision_id.parse()?,
                    approved,
                };
                self.shared.record.acknowledged(begun, request_id, what);
                Ok(true)
            }
            // Somebody was quicker, or the comment was changed or deleted meanwhile.
            Outcome::Refused(_) | Outcome::GivenUp => Ok(false),
        }
    }
}
