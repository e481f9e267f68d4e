use agora_proto::{
    Mutation as Message,
    event::v1::Decision,
    moderation::v1::{
        ApproveRevisionRequest, ApproveRevisionResponse, Case, RejectRevisionRequest,
        RejectRevisionResponse, SetPolicyRequest, SetPolicyResponse,
    },
};
use bus_schema::{CommentId, DecisionId, RevisionId, Site};
use chassis::{
    Call,
    fields::{Fields, Limit},
};
use eventstore::{committer::Committed, mutation::Mutation};

use super::{Service, encode, parse};
use crate::{
    Error,
    domain::{self, Command, Record, Reply},
    rules::Policy,
    store::{Read as _, Store},
};

/// A reason that must be given: whoever is rejected may be told why.
const REASON_FOR_PEOPLE: Limit = Limit { may_be_empty: false, ..domain::REASON };

/// A policy that is to replace the one of this version.
struct Replacement {
    version: u32,
    policy: Policy,
}

/// A decision that is asked for.
struct Wanted {
    comment_id: CommentId,
    revision_id: RevisionId,
    decision: Decision,
    reason: String,
    replaces: Option<DecisionId>,
}

impl<S: Store> Service<S> {
    pub(super) async fn replace_policy(
        &self,
        call: Call,
        message: SetPolicyRequest,
    ) -> Result<SetPolicyResponse, Error> {
        let mutation = Mutation::parse(call, &self.keys, message, replacement)?;
        let (origin, replacement) = mutation.admit(&self.watermarks).await?;
        let site = origin.site.clone();
        let Replacement { version, policy } = replacement;
        let command = Command::SetPolicy { site: site.clone(), version, policy };
        let Committed { reply, position } = self.committer.submit(origin, command).await?;
        let Reply::Policy(set) = reply else { return Err(unexpected()) };
        let policy = Some(encode::policy(&site, set));
        Ok(SetPolicyResponse { policy, position: position.to_string() })
    }

    pub(super) async fn approve(
        &self,
        call: Call,
        message: ApproveRevisionRequest,
    ) -> Result<ApproveRevisionResponse, Error> {
        let parse = |fields: &mut Fields, message: &ApproveRevisionRequest| {
            wanted(
                fields,
                [&message.comment_id, &message.revision_id, &message.replaces],
                Decision::Approved,
                (&message.reason, domain::REASON),
            )
        };
        let (moderation_case, position) = self.decide(call, message, parse).await?;
        Ok(ApproveRevisionResponse { moderation_case, position })
    }

    pub(super) async fn reject(
        &self,
        call: Call,
        message: RejectRevisionRequest,
    ) -> Result<RejectRevisionResponse, Error> {
        let parse = |fields: &mut Fields, message: &RejectRevisionRequest| {
            wanted(
                fields,
                [&message.comment_id, &message.revision_id, &message.replaces],
                Decision::Rejected,
                (&message.reason, REASON_FOR_PEOPLE),
            )
        };
        let (moderation_case, position) = self.decide(call, message, parse).await?;
        Ok(RejectRevisionResponse { moderation_case, position })
    }

    /// Has a revision decided on: its case, and the position that includes the decision.
    async fn decide<M: Message>(
        &self,
        call: Call,
        message: M,
        parse: impl FnOnce(&mut Fields, &M) -> Option<Wanted>,
    ) -> Result<(Option<Case>, String), Error> {
        let mutation = Mutation::parse(call, &self.keys, message, parse)?;
        let (origin, wanted) = mutation.admit(&self.watermarks).await?;
        let site = origin.site.clone();
        let Wanted { comment_id, revision_id, decision, reason, replaces } = wanted;
        let command = Command::Decide { comment_id, revision_id, decision, reason, replaces };
        let Committed { reply, position } = self.committer.submit(origin, command).await?;
        let Reply::Decision { record, .. } = reply else { return Err(unexpected()) };
        let case = self.decided_case(&site, comment_id, record).await?;
        Ok((Some(case), position.to_string()))
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

fn replacement(fields: &mut Fields, message: &SetPolicyRequest) -> Option<Replacement> {
    if let Some(policy) = &message.policy
        && !policy.site.is_empty()
        && policy.site != message.site
    {
        fields.refuse("policy.site", "must be empty, or the site of the request");
    }
    let version = message.policy.as_ref().map_or(0, |policy| policy.version);
    let policy = parse::policy(fields, message.policy.as_ref())?;
    Some(Replacement { version, policy })
}

/// A decision on a revision of a comment, in place of another one if that is named.
fn wanted(
    fields: &mut Fields,
    [comment_id, revision_id, replaces]: [&str; 3],
    decision: Decision,
    (reason, limit): (&str, Limit),
) -> Option<Wanted> {
    let comment_id = fields.id("comment_id", comment_id);
    let revision_id = fields.id("revision_id", revision_id);
    let reason = fields.text("reason", reason, limit);
    let replaces = fields.optional_id("replaces", replaces);
    Some(Wanted {
        comment_id: comment_id?,
        revision_id: revision_id?,
        decision,
        reason: reason?,
        replaces: replaces?,
    })
}
