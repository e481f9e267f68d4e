use std::mem::take;

use agora_proto::{
    event::v1::Decision,
    moderation::v1::{
        ApproveRevisionRequest, ApproveRevisionResponse, Case, RejectRevisionRequest,
        RejectRevisionResponse, SetPolicyRequest, SetPolicyResponse,
    },
};
use bus_schema::{CommentId, DecisionId, RequestMark, RevisionId, Site};
use chassis::{
    Call, Position,
    call::mark,
    committer::Committed,
    fields::{Fields, Limit},
};
use prost::Message as _;

use super::{Service, encode, parse};
use crate::{
    Error,
    domain::{self, Command, Record, Reply},
    store::{Read as _, Store},
};

/// How many bytes a command without a text holds in the queue.
const SMALL: usize = 256;

/// A decision that is asked for.
struct Wanted {
    site: Site,
    comment_id: CommentId,
    revision_id: RevisionId,
    decision: Decision,
    reason: String,
    replaces: Option<DecisionId>,
    request: Option<RequestMark>,
    position: Position,
}

impl<S: Store> Service<S> {
    pub(super) async fn replace_policy(
        &self,
        call: Call,
        mut message: SetPolicyRequest,
    ) -> Result<SetPolicyResponse, Error> {
        let mut fields = Fields::new();
        let position = fields.position(&take(&mut message.position));
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "SetPolicy", &message);
        let site = fields.site("site", &message.site);
        if let Some(policy) = &message.policy
            && !policy.site.is_empty()
            && policy.site != message.site
        {
            fields.refuse("policy.site", "must be empty, or the site of the request");
        }
        let policy = parse::policy(&mut fields, message.policy.as_ref());
        let (Some(position), Some(request), Some(site), Some(policy)) =
            (position, request, site, policy)
        else {
            return Err(fields.into_error().into());
        };
        fields.finish()?;

        let version = message.policy.as_ref().map_or(0, |policy| policy.version);
        let size = SMALL + message.encoded_len();
        let origin = call.origin(site.clone(), "policy_set", request, size)?;
        self.watermarks.wait(&position, origin.deadline).await?;
        let command = Command::SetPolicy { site: site.clone(), version, policy };
        let Committed { reply, position } = self.committer.submit(origin, command).await?;
        let Reply::Policy(set) = reply else { return Err(unexpected()) };
        let policy = Some(encode::policy(&site, set));
        Ok(SetPolicyResponse { policy, position: position.to_string() })
    }

    pub(super) async fn approve(
        &self,
        call: Call,
        mut message: ApproveRevisionRequest,
    ) -> Result<ApproveRevisionResponse, Error> {
        let mut fields = Fields::new();
        let position = fields.position(&take(&mut message.position));
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "ApproveRevision", &message);
        let site = fields.site("site", &message.site);
        let comment_id = fields.id("comment_id", &message.comment_id);
        let revision_id = fields.id("revision_id", &message.revision_id);
        let reason = fields.text("reason", &message.reason, domain::REASON);
        let replaces = fields.optional_id("replaces", &message.replaces);
        let wanted = (|| {
            Some(Wanted {
                site: site?,
                comment_id: comment_id?,
                revision_id: revision_id?,
                decision: Decision::Approved,
                reason: reason?,
                replaces: replaces?,
                request: request?,
                position: position?,
            })
        })();
        let Some(wanted) = wanted else { return Err(fields.into_error().into()) };
        fields.finish()?;
        let (case, position) = self.decide(call, wanted).await?;
        let moderation_case = Some(case);
        Ok(ApproveRevisionResponse { moderation_case, position: position.to_string() })
    }

    pub(super) async fn reject(
        &self,
        call: Call,
        mut message: RejectRevisionRequest,
    ) -> Result<RejectRevisionResponse, Error> {
        let mut fields = Fields::new();
        let position = fields.position(&take(&mut message.position));
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "RejectRevision", &message);
        let site = fields.site("site", &message.site);
        let comment_id = fields.id("comment_id", &message.comment_id);
        let revision_id = fields.id("revision_id", &message.revision_id);
        // Whoever is rejected may be told why.
        let limit = Limit { may_be_empty: false, ..domain::REASON };
        let reason = fields.text("reason", &message.reason, limit);
        let replaces = fields.optional_id("replaces", &message.replaces);
        let wanted = (|| {
            Some(Wanted {
                site: site?,
                comment_id: comment_id?,
                revision_id: revision_id?,
                decision: Decision::Rejected,
                reason: reason?,
                replaces: replaces?,
                request: request?,
                position: position?,
            })
        })();
        let Some(wanted) = wanted else { return Err(fields.into_error().into()) };
        fields.finish()?;
        let (case, position) = self.decide(call, wanted).await?;
        let moderation_case = Some(case);
        Ok(RejectRevisionResponse { moderation_case, position: position.to_string() })
    }

    async fn decide(&self, call: Call, wanted: Wanted) -> Result<(Case, Position), Error> {
        let Wanted { site, comment_id, revision_id, decision, reason, replaces, .. } = wanted;
        let size = SMALL + reason.len();
        let origin = call.origin(site.clone(), "revision_decided", wanted.request, size)?;
        self.watermarks.wait(&wanted.position, origin.deadline).await?;
        let command = Command::Decide { comment_id, revision_id, decision, reason, replaces };
        let Committed { reply, position } = self.committer.submit(origin, command).await?;
        let Reply::Decision { record, .. } = reply else { return Err(unexpected()) };
        Ok((self.decided_case(&site, comment_id, record).await?, position))
    }

    /// The case as the decision has left it: a retry is told the same, however far the
    /// case has gone on.
    async fn decided_case(
        &self,
        site: &Site,
        comment_id: CommentId,
        record: Record,
    ) -> Result<Case, Error> {
        let case = self.reader.case(site, comment_id).await.map_err(chassis::Error::from)?;
        let mut case = case.ok_or(Error::CaseNotFound)?;
        let revision_id = RevisionId::from_slice(&record.decided.revision_id);
        let revision_id = revision_id.map_err(chassis::Error::internal)?;
        let revision = self.reader.revision(comment_id, revision_id).await;
        case.revision = revision.map_err(chassis::Error::from)?.ok_or(Error::RevisionNotFound)?;
        case.decision = Some(record);
        case.open = false;
        case.deleted = false;
        Ok(encode::case(case))
    }
}

/// A defect: a command was answered with what another one makes.
fn unexpected() -> Error {
    chassis::Error::internal("an answer of another command").into()
}
