//! `agora post`: create, read and change posts.

use agora_proto::post::v1::{
    ClosePostRequest, CreatePostRequest, DeletePostRequest, GetPostRequest, ListPostsRequest, Post,
    ReopenPostRequest, UpdatePostRequest, get_post_request,
};
use clap::{Args, Subcommand};
use prost_types::FieldMask;

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
  agora post create --title 'Hello' --body 'What do you think?'
  agora post create --title 'A page' --external-key https://example.org/page
  agora post get https://example.org/page
  agora post update POST --title 'Hello again' --revision 1
  agora post list --json | jq -r .postId

POST is a post's id or its external key.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Create a post
    Create(Create),
    /// Show one post
    Get(Get),
    /// List a site's posts, newest first
    List(Page),
    /// Change a post's title or body
    Update(Update),
    /// Delete a post for good
    Delete(Delete),
    /// Close a post: it takes no further comments
    Close(Change),
    /// Open a closed post for comments again
    Reopen(Change),
}

#[derive(Debug, Args)]
pub struct Create {
    /// 1 to 300 characters
    #[arg(long)]
    title: String,
    /// At most 64 KiB; `-` reads standard input
    #[arg(long, default_value = "", hide_default_value = true)]
    body: String,
    /// The id that the post has elsewhere, such as a page's URL
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    external_key: String,
    #[command(flatten)]
    position: Position,
}

#[derive(Debug, Args)]
pub struct Get {
    /// The post's id or external key
    post: PostName,
    #[command(flatten)]
    position: Position,
}

#[derive(Debug, Args)]
pub struct Update {
    /// The post's id or external key
    post: PostName,
    /// The new title
    #[arg(long)]
    title: Option<String>,
    /// The new body; `-` reads standard input
    #[arg(long, required_unless_present = "title")]
    body: Option<String>,
    #[command(flatten)]
    expected: Expected,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The post's id or external key
    post: PostName,
    #[command(flatten)]
    expected: Expected,
}

#[derive(Debug, Args)]
pub struct Change {
    /// The post's id or external key
    post: PostName,
    #[command(flatten)]
    position: Position,
}

pub async fn run(options: &Options, command: Command) -> Result<(), Error> {
    let client = &Client::connect(options, Role::Author).await?;
    let answer = match command {
        Command::Create(arguments) => create(client, arguments).await,
        Command::Get(arguments) => get(client, arguments).await,
        Command::Update(arguments) => update(client, arguments).await,
        Command::Delete(arguments) => delete(client, arguments).await,
        Command::Close(arguments) => close(client, arguments).await,
        Command::Reopen(arguments) => reopen(client, arguments).await,
        Command::List(page) => return list(options, client, page).await,
    };
    answer::print(options, answer, render::post::post)
}

async fn create(client: &Client, arguments: Create) -> Answer<Post> {
    let request = CreatePostRequest {
        site: client.site(),
        external_key: arguments.external_key,
        title: arguments.title,
        body: input(arguments.body)?,
        request_id: request_id(),
        position: arguments.position.text(),
        attribution: None,
    };
    answer!(post, client.posts().create_post(request))
}

async fn get(client: &Client, arguments: Get) -> Answer<Post> {
    let key = match arguments.post {
        PostName::Id(id) => get_post_request::Key::PostId(id.to_string()),
        PostName::ExternalKey(key) => get_post_request::Key::ExternalKey(key),
    };
    let position = arguments.position.text();
    let request = GetPostRequest { site: client.site(), key: Some(key), position };
    answer!(post, client.posts().get_post(request))
}

async fn update(client: &Client, arguments: Update) -> Answer<Post> {
    let named = [("title", arguments.title.is_some()), ("body", arguments.body.is_some())];
    let paths = named.into_iter().filter(|(_, given)| *given).map(|(path, _)| path.to_owned());
    let request = UpdatePostRequest {
        site: client.site(),
        post_id: client.post_id(&arguments.post).await?,
        revision: arguments.expected.revision,
        title: arguments.title.unwrap_or_default(),
        body: input(arguments.body.unwrap_or_default())?,
        update_mask: Some(FieldMask { paths: paths.collect() }),
        request_id: request_id(),
        position: arguments.expected.position.text(),
    };
    answer!(post, client.posts().update_post(request))
}

async fn delete(client: &Client, arguments: Delete) -> Answer<Post> {
    let request = DeletePostRequest {
        site: client.site(),
        post_id: client.post_id(&arguments.post).await?,
        revision: arguments.expected.revision,
        request_id: request_id(),
        position: arguments.expected.position.text(),
    };
    answer!(post, client.posts().delete_post(request))
}

async fn close(client: &Client, arguments: Change) -> Answer<Post> {
    let request = ClosePostRequest {
        site: client.site(),
        post_id: client.post_id(&arguments.post).await?,
        request_id: request_id(),
        position: arguments.position.text(),
    };
    answer!(post, client.posts().close_post(request))
}

async fn reopen(client: &Client, arguments: Change) -> Answer<Post> {
    let request = ReopenPostRequest {
        site: client.site(),
        post_id: client.post_id(&arguments.post).await?,
        request_id: request_id(),
        position: arguments.position.text(),
    };
    answer!(post, client.posts().reopen_post(request))
}

async fn list(options: &Options, client: &Client, page: Page) -> Result<(), Error> {
    let fetch = async |page_token| {
        let request = ListPostsRequest {
            site: client.site(),
            page_size: page.page_size.unwrap_or_default(),
            page_token,
            position: page.position.text(),
        };
        let answer = rpc!(client.posts().list_posts(request))?;
        Ok(Listed {
            items: answer.posts,
            next_page_token: answer.next_page_token,
            position: answer.position,
        })
    };
    list::print(options, &page, "post list", fetch, render::post::entry).await.map(drop)
}
