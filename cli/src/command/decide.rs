//! `agora decide`: approve or reject one revision of a comment.

use agora_proto::moderation::v1::{ApproveRevisionRequest, Case, RejectRevisionRequest};
use clap::{Args, Subcommand};

use crate::{
    arguments::{Options, Position, Role},
    client::{Client, call, request_id},
    error::Error,
    json, output,
};

use super::queue;

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
    let (case, position, verdict) = match command {
        Command::Approve(arguments) => {
            let (case, position) = approve(&client, arguments).await?;
            (case, position, "approved")
        }
        Command::Reject(arguments) => {
            let (case, position) = reject(&client, arguments).await?;
            (case, position, "rejected")
        }
    };
    if options.json {
        return output::print(json::line(&case, &position));
    }
    let decided = case.decision.as_ref();
    let revision = decided.map_or(case.revision, |decision| decision.revision);
    let revision_id = decided.map_or(&case.revision_id, |decision| &decision.revision_id);
    output::print(format!(
        "{verdict} revision {revision} ({revision_id}) of comment {}",
        case.comment_id
    ))
}

async fn approve(client: &Client, arguments: Approve) -> Result<(Case, String), Error> {
    let Approve { what, reason } = arguments;
    let request = ApproveRevisionRequest {
        site: client.site(),
        revision_id: revision(client, &what).await?,
        comment_id: what.comment,
        reason,
        replaces: what.replaces,
        request_id: request_id(),
        position: what.position.text(),
    };
    let answer = call(&request, |request| {
        let mut moderation = client.moderation();
        async move { moderation.approve_revision(request).await }
    })
    .await?;
    Ok((answer.moderation_case.unwrap_or_default(), answer.position))
}

async fn reject(client: &Client, arguments: Reject) -> Result<(Case, String), Error> {
    let Reject { what, reason } = arguments;
    let request = RejectRevisionRequest {
        site: client.site(),
        revision_id: revision(client, &what).await?,
        comment_id: what.comment,
        reason,
        replaces: what.replaces,
        request_id: request_id(),
        position: what.position.text(),
    };
    let answer = call(&request, |request| {
        let mut moderation = client.moderation();
        async move { moderation.reject_revision(request).await }
    })
    .await?;
    Ok((answer.moderation_case.unwrap_or_default(), answer.position))
}

/// The revision that was named, else the newest.
async fn revision(client: &Client, what: &What) -> Result<String, Error> {
    if let Some(revision_id) = &what.revision_id {
        return Ok(revision_id.clone());
    }
    let answer = queue::get(client, what.comment.clone(), what.position.text()).await?;
    Ok(answer.moderation_case.unwrap_or_default().revision_id)
}
