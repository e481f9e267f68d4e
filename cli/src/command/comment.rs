//! `agora comment`: create, read and change comments.

use agora_proto::comment::v1::{
    Comment, CreateCommentRequest, DeleteCommentRequest, GetCommentRequest, ListCommentsRequest,
    UpdateCommentRequest,
};
use clap::{Args, Subcommand};

use crate::{
    arguments::{Options, Page, Position, Role},
    client::{Client, PostName, call, request_id},
    error::Error,
    json, output, render,
};

use super::input;

const EXAMPLES: &str = "\
Examples:
  agora comment create POST --body 'I agree'
  agora comment create POST --parent COMMENT --body 'I do not'
  echo 'a long text' | agora comment create POST --body -
  agora comment update COMMENT --body 'I agree, mostly' --revision 1
  agora comment list POST --all --json

POST is a post's id or its external key.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Reply to a post or to another comment
    Create(Create),
    /// Show one comment
    Get(Get),
    /// List the comments of a post that you may see, oldest first
    List(List),
    /// Change a comment's body: a new revision, which moderation judges anew
    Update(Update),
    /// Delete a comment for good; its replies stay
    Delete(Delete),
}

#[derive(Debug, Args)]
pub struct Create {
    /// The post's id or external key
    post: PostName,
    /// 1 character to 16 KiB; `-` reads standard input
    #[arg(long)]
    body: String,
    /// The comment to reply to
    #[arg(long, value_name = "COMMENT", default_value = "", hide_default_value = true)]
    parent: String,
    #[command(flatten)]
    position: Position,
}

#[derive(Debug, Args)]
pub struct Get {
    /// The comment's id
    comment: String,
    #[command(flatten)]
    position: Position,
}

#[derive(Debug, Args)]
pub struct List {
    /// The post's id or external key
    post: PostName,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub struct Update {
    /// The comment's id
    comment: String,
    /// The new body; `-` reads standard input
    #[arg(long)]
    body: String,
    /// Fail unless this is still the newest revision
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    revision: u32,
    #[command(flatten)]
    position: Position,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The comment's id
    comment: String,
    /// Fail unless this is still the newest revision
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    revision: u32,
    #[command(flatten)]
    position: Position,
}

pub async fn run(options: &Options, command: Command) -> Result<(), Error> {
    let client = Client::connect(options, Role::Author).await?;
    let (comment, position) = match command {
        Command::Create(arguments) => create(&client, arguments).await?,
        Command::Get(arguments) => get(&client, arguments).await?,
        Command::Update(arguments) => update(&client, arguments).await?,
        Command::Delete(arguments) => delete(&client, arguments).await?,
        Command::List(arguments) => return list(options, &client, arguments).await,
    };
    if options.json {
        return output::print(json::line(&comment, &position));
    }
    output::print(render::comment::comment(&comment))
}

/// A comment and the position of the answer that held it.
type Answer = Result<(Comment, String), Error>;

async fn create(client: &Client, arguments: Create) -> Answer {
    let request = CreateCommentRequest {
        site: client.site(),
        post_id: client.post_id(&arguments.post).await?,
        parent_id: arguments.parent,
        body: input(arguments.body)?,
        request_id: request_id(),
        position: arguments.position.text(),
        attribution: None,
    };
    let answer = call(&request, |request| {
        let mut comments = client.comments();
        async move { comments.create_comment(request).await }
    })
    .await?;
    Ok((answer.comment.unwrap_or_default(), answer.position))
}

async fn get(client: &Client, arguments: Get) -> Answer {
    let request = GetCommentRequest {
        site: client.site(),
        comment_id: arguments.comment,
        position: arguments.position.text(),
    };
    let answer = call(&request, |request| {
        let mut comments = client.comments();
        async move { comments.get_comment(request).await }
    })
    .await?;
    Ok((answer.comment.unwrap_or_default(), answer.position))
}

async fn update(client: &Client, arguments: Update) -> Answer {
    let request = UpdateCommentRequest {
        site: client.site(),
        comment_id: arguments.comment,
        revision: arguments.revision,
        body: input(arguments.body)?,
        request_id: request_id(),
        position: arguments.position.text(),
    };
    let answer = call(&request, |request| {
        let mut comments = client.comments();
        async move { comments.update_comment(request).await }
    })
    .await?;
    Ok((answer.comment.unwrap_or_default(), answer.position))
}

async fn delete(client: &Client, arguments: Delete) -> Answer {
    let request = DeleteCommentRequest {
        site: client.site(),
        comment_id: arguments.comment,
        revision: arguments.revision,
        request_id: request_id(),
        position: arguments.position.text(),
    };
    let answer = call(&request, |request| {
        let mut comments = client.comments();
        async move { comments.delete_comment(request).await }
    })
    .await?;
    Ok((answer.comment.unwrap_or_default(), answer.position))
}

async fn list(options: &Options, client: &Client, arguments: List) -> Result<(), Error> {
    let List { post, page } = arguments;
    let mut request = ListCommentsRequest {
        site: client.site(),
        post_id: client.post_id(&post).await?,
        page_size: page.page_size.unwrap_or_default(),
        page_token: page.page_token.unwrap_or_default(),
        position: page.position.text(),
    };
    loop {
        let answer = call(&request, |request| {
            let mut comments = client.comments();
            async move { comments.list_comments(request).await }
        })
        .await?;
        for comment in &answer.comments {
            output::print(match options.json {
                true => json::line(comment, &answer.position),
                false => render::comment::comment(comment),
            })?;
        }
        if answer.next_page_token.is_empty() {
            return Ok(());
        }
        if !page.all {
            super::more(
                &format!("agora comment list {}", request.post_id),
                &answer.next_page_token,
            );
            return Ok(());
        }
        request.page_token = answer.next_page_token;
    }
}
