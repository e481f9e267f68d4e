//! `agora decide`: approve or reject one revision of a comment.

use agora_proto::moderation::v1::{ApproveRevisionRequest, Case, Decision, RejectRevisionRequest};
use clap::{Args, Subcommand};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    client::{Client, request_id},
    error::Error,
    json,
    options::{Options, Position, Role},
    output,
    render::{label, text},
};

use super::{
    answer::{Answer, answer},
    queue,
};

const EXAMPLES: &str = "\
Examples:
  agora decide approve COMMENT
  agora decide reject COMMENT --reason 'advertising'
  agora decide approve COMMENT --revision-id ID --replaces DECISION

Without --revision-id the newest revision is taken from the case, and the command says
which one that was.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Approve a revision: everybody sees it
    Approve(Approve),
    /// Reject a revision
    Reject(Reject),
}

#[derive(Debug, Args)]
pub struct Approve {
    #[command(flatten)]
    what: What,
    /// At most 1,000 characters
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub struct Reject {
    #[command(flatten)]
    what: What,
    /// 1 to 1,000 characters
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
struct What {
    /// The comment's id
    comment: String,
    /// The revision, by the id that its case shows [default: the newest]
    #[arg(long, value_name = "ID")]
    revision_id: Option<String>,
    /// Overrule this decision of a moderator
    #[arg(long, value_name = "DECISION", default_value = "", hide_default_value = true)]
    replaces: String,
    #[command(flatten)]
    position: Position,
}

pub async fn run(options: &Options, command: Command) -> Result<(), Error> {
    let client = Client::connect(options, Role::Moderator).await?;
    let (what, reason, verdict) = match command {
        Command::Approve(Approve { what, reason }) => (what, reason, Decision::Approved),
        Command::Reject(Reject { what, reason }) => (what, reason, Decision::Rejected),
    };
    let decided = decide(&client, &what, reason, verdict).await;
    let verdict = label(verdict.as_str_name(), "DECISION_");
    let (case, position, who) = match decided {
        Ok((case, position)) => (case, position, None),
        // Two moderators have decided the same: the second one's work is done.
        Err(Error::Refused(status)) => match same_before(&status, &verdict) {
            Some(decider) => {
                let answer = queue::get(&client, what.comment, what.position.text()).await?;
                (answer.moderation_case.unwrap_or_default(), answer.position, Some(decider))
            }
            None => return Err(status.into()),
        },
        Err(error) => return Err(error),
    };
    if options.json {
        return output::print(json::line(&case, &position));
    }
    let decided = case.decision.as_ref();
    let revision = decided.map_or(case.revision, |decision| decision.revision);
    let revision_id = decided.map_or(&case.revision_id, |decision| &decision.revision_id);
    let what = format!("revision {revision} ({revision_id}) of comment {}", case.comment_id);
    output::print(match who {
        None => format!("{verdict} {what}"),
        Some(who) => format!("nothing to do: {} has {verdict} {what} before", text::line(&who)),
    })
}

async fn decide(client: &Client, what: &What, reason: String, verdict: Decision) -> Answer<Case> {
    let (site, revision_id) = (client.site(), revision(client, what).await?);
    let (comment_id, replaces) = (what.comment.clone(), what.replaces.clone());
    let (request_id, position) = (request_id(), what.position.text());
    if verdict == Decision::Rejected {
        let request = RejectRevisionRequest {
            site,
            revision_id,
            comment_id,
            reason,
            replaces,
            request_id,
            position,
        };
        return answer!(moderation_case, client.moderation().reject_revision(request));
    }
    let request = ApproveRevisionRequest {
        site,
        revision_id,
        comment_id,
        reason,
        replaces,
        request_id,
        position,
    };
    answer!(moderation_case, client.moderation().approve_revision(request))
}

/// Who decided the same before, if that is why a decision is refused.
fn same_before(status: &Status, verdict: &str) -> Option<String> {
    let info = status.get_details_error_info()?;
    let decided = info.metadata.get("decision").map(|decided| label(decided, "DECISION_"));
    let is_same = info.reason == "ALREADY_DECIDED" && decided.as_deref() == Some(verdict);
    is_same.then(|| info.metadata.get("decider_id").cloned().unwrap_or_default())
}

/// The revision that was named, else the newest.
async fn revision(client: &Client, what: &What) -> Result<String, Error> {
    if let Some(revision_id) = &what.revision_id {
        return Ok(revision_id.clone());
    }
    let answer = queue::get(client, what.comment.clone(), what.position.text()).await?;
    Ok(answer.moderation_case.unwrap_or_default().revision_id)
}
