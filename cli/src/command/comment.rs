//! `agora comment`: create, read and change comments.

use agora_proto::comment::v1::{
    Comment, CreateCommentRequest, DeleteCommentRequest, GetCommentRequest, ListCommentsRequest,
    UpdateCommentRequest,
};
use clap::{Args, Subcommand};

use crate::{
    client::{Client, PostName, request_id, rpc},
    error::Error,
    options::{Expected, Options, Page, Position, Role},
    render,
};

use super::{
    answer::{self, Answer, answer},
    input,
    list::{self, Listed},
};

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
    /// Change a comment's body: a new revision, which moderation judges again
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
    #[command(flatten)]
    expected: Expected,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The comment's id
    comment: String,
    #[command(flatten)]
    expected: Expected,
}

pub async fn run(options: &Options, command: Command) -> Result<(), Error> {
    let client = &Client::connect(options, Role::Author).await?;
    let answer = match command {
        Command::Create(arguments) => create(client, arguments).await,
        Command::Get(arguments) => get(client, arguments).await,
        Command::Update(arguments) => update(client, arguments).await,
        Command::Delete(arguments) => delete(client, arguments).await,
        Command::List(arguments) => return list(options, client, arguments).await,
    };
    answer::print(options, answer, render::comment::comment)
}

async fn create(client: &Client, arguments: Create) -> Answer<Comment> {
    let request = CreateCommentRequest {
        site: client.site(),
        post_id: client.post_id(&arguments.post).await?,
        parent_id: arguments.parent,
        body: input(arguments.body)?,
        request_id: request_id(),
        position: arguments.position.text(),
        attribution: None,
    };
    answer!(comment, client.comments().create_comment(request))
}

async fn get(client: &Client, arguments: Get) -> Answer<Comment> {
    let request = GetCommentRequest {
        site: client.site(),
        comment_id: arguments.comment,
        position: arguments.position.text(),
    };
    answer!(comment, client.comments().get_comment(request))
}

async fn update(client: &Client, arguments: Update) -> Answer<Comment> {
    let request = UpdateCommentRequest {
        site: client.site(),
        comment_id: arguments.comment,
        revision: arguments.expected.revision,
        body: input(arguments.body)?,
        request_id: request_id(),
        position: arguments.expected.position.text(),
    };
    answer!(comment, client.comments().update_comment(request))
}

async fn delete(client: &Client, arguments: Delete) -> Answer<Comment> {
    let request = DeleteCommentRequest {
        site: client.site(),
        comment_id: arguments.comment,
        revision: arguments.expected.revision,
        request_id: request_id(),
        position: arguments.expected.position.text(),
    };
    answer!(comment, client.comments().delete_comment(request))
}

async fn list(options: &Options, client: &Client, arguments: List) -> Result<(), Error> {
    let List { post, page } = arguments;
    let post_id = client.post_id(&post).await?;
    let fetch = async |page_token| {
        let request = ListCommentsRequest {
            site: client.site(),
            post_id: post_id.clone(),
            page_size: page.page_size.unwrap_or_default(),
            page_token,
            position: page.position.text(),
        };
        let answer = rpc!(client.comments().list_comments(request))?;
        Ok(Listed {
            items: answer.comments,
            next_page_token: answer.next_page_token,
            position: answer.position,
        })
    };
    let command = format!("comment list {post_id}");
    list::print(options, &page, &command, fetch, render::comment::comment).await.map(drop)
}
