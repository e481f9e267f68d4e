use agora_proto::moderation::v1::Decision;
use bus_schema::{DecisionId, RevisionId};
use chassis::{Explain, error::Fault};
use tonic::Code;

/// Why a request about moderation is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every service can answer with.
    #[error(transparent)]
    Chassis(#[from] chassis::Error),
    /// The site's policy has no such version.
    #[error("the site's policy has no such version")]
    PolicyNotFound,
    /// The change was made on a version of the policy that is not the newest.
    #[error("the site's policy is at version {current}")]
    StalePolicy {
        /// The newest.
        current: u32,
    },
    /// The site has no such comment, or it was not judged yet.
    #[error("the site has no case of such a comment")]
    CaseNotFound,
    /// The comment has no such revision.
    #[error("the comment has no such revision")]
    RevisionNotFound,
    /// The comment has a newer revision.
    #[error("the comment is at revision {current}")]
    StaleRevision {
        /// The number of the newest.
        current: u32,
        /// The id of the newest.
        current_id: RevisionId,
    },
    /// The comment is deleted.
    #[error("the comment is deleted")]
    CommentDeleted,
    /// Somebody decided before.
    #[error("{decider} decided before: {}", in_words(*decision))]
    AlreadyDecided {
        /// What they decided.
        decision: Decision,
        /// Who they are.
        decider: String,
        /// Give it as `replaces` to overrule them.
        decision_id: DecisionId,
    },
}

/// A decision as people say it.
fn in_words(decision: Decision) -> &'static str {
    match decision {
        Decision::Unspecified => "not decided",
        Decision::Pending => "pending",
        Decision::Approved => "approved",
        Decision::Rejected => "rejected",
    }
}

impl Explain for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::Chassis(error) => error.fault(),
            Self::PolicyNotFound => Fault::new(Code::NotFound, "POLICY_NOT_FOUND"),
            Self::StalePolicy { current } => {
                Fault::new(Code::Aborted, "STALE_REVISION").with("current_version", current)
            }
            Self::CaseNotFound => Fault::new(Code::NotFound, "CASE_NOT_FOUND"),
            Self::RevisionNotFound => Fault::new(Code::NotFound, "REVISION_NOT_FOUND"),
            Self::StaleRevision { current, current_id } => {
                Fault::new(Code::Aborted, "STALE_REVISION")
                    .with("current_revision", current)
                    .with("current_revision_id", current_id)
            }
            Self::CommentDeleted => Fault::new(Code::FailedPrecondition, "COMMENT_DELETED"),
            Self::AlreadyDecided { decision, decider, decision_id } => {
                Fault::new(Code::Aborted, "ALREADY_DECIDED")
                    .with("decision", decision.as_str_name())
                    .with("decider_id", decider)
                    .with("decision_id", decision_id)
            }
        }
    }
}
