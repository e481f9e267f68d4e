//! `agora thread`: a post and its tree of comments.

use std::time::SystemTime;

use agora_proto::query::v1::{
    GetThreadRequest, GetThreadResponse, ThreadComment, ThreadOrder, get_thread_request,
};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    client::{Client, PostName, rpc},
    error::Error,
    folder::shell_word,
    json,
    options::{Options, Position, Role},
    output, pager,
    render::{text, thread},
};

const EXAMPLES: &str = "\
Examples:
  agora thread POST
  agora thread POST --all                    every comment, however many
  agora thread POST --order oldest --page-size 20 --replies 3
  agora thread POST --hidden                 what readers do not see, for moderators
  agora thread POST --all --json | jq -r .body

POST is a post's id or its external key. Your own comments that wait for a moderator
are shown to you and marked. On a terminal what is longer goes through PAGER (AGORA_PAGER),
which is less if it is not set.";

#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    show: Show,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a post and a page of its comments (also without `show`)
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    /// The post's id or external key
    #[arg(required = true)]
    post: Option<PostName>,
    /// Which of two siblings comes first
    #[arg(long, value_enum, default_value_t = Order::Newest)]
    order: Order,
    /// Show what is hidden from readers; for moderators
    #[arg(long)]
    hidden: bool,
    /// How many comments directly under the post (or under the comment that a page
    /// token goes on with) are on a page
    #[arg(long, value_name = "N")]
    page_size: Option<i32>,
    /// How many replies follow each of them at most
    #[arg(long, value_name = "N")]
    replies: Option<i32>,
    /// Continue where an earlier page ended
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
    /// All comments
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    position: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Newest first
    Newest,
    /// Oldest first
    Oldest,
}

/// The largest page, and the most replies: where all are wanted.
const MAX_PAGE: i32 = 500;

pub async fn run(options: &Options, arguments: Arguments) -> Result<(), Error> {
    let arguments = match arguments.command {
        Some(Command::Show(show)) => show,
        None => arguments.show,
    };
    let role = if arguments.hidden { Role::Moderator } else { Role::Author };
    let client = Client::connect(options, role).await?;
    let request = arguments.request(&client);
    let mut answer = get(&client, &request).await?;
    if arguments.all {
        complete(&client, &request, &mut answer).await?;
    }
    if options.json {
        return print_json(options, &answer);
    }
    let command = options.propose(&arguments.command());
    pager::print(&tree(&command, &request, &answer))
}

impl Show {
    fn post(&self) -> &PostName {
        self.post.as_ref().expect("the command line requires it")
    }

    fn request(&self, client: &Client) -> GetThreadRequest {
        let order = match self.order {
            Order::Newest => ThreadOrder::NewestFirst,
            Order::Oldest => ThreadOrder::OldestFirst,
        };
        let (page_size, replies) = match self.all {
            true => (self.page_size.or(Some(MAX_PAGE)), self.replies.or(Some(MAX_PAGE))),
            false => (self.page_size, self.replies),
        };
        GetThreadRequest {
            site: client.site(),
            post: Some(match self.post() {
                PostName::Id(id) => get_thread_request::Post::PostId(id.to_string()),
                PostName::ExternalKey(key) => get_thread_request::Post::ExternalKey(key.clone()),
            }),
            order: order.into(),
            page_size: page_size.unwrap_or_default(),
            replies_per_root: replies,
            page_token: self.page_token.clone().unwrap_or_default(),
            position: self.position.text(),
            include_hidden: self.hidden,
        }
    }

    /// The command that shows all of the same thread.
    fn command(&self) -> String {
        let post = match self.post() {
            PostName::Id(id) => id.to_string(),
            PostName::ExternalKey(key) => shell_word(&text::line(key)),
        };
        let mut command = format!("thread {post}");
        if self.order == Order::Oldest {
            command.push_str(" --order oldest");
        }
        if self.hidden {
            command.push_str(" --hidden");
        }
        command + " --all"
    }
}

async fn get(client: &Client, request: &GetThreadRequest) -> Result<GetThreadResponse, Error> {
    rpc!(client.query().get_thread(request.clone()))
}

/// Puts what an answer left out to its place: further pages, and further replies.
async fn complete(
    client: &Client,
    request: &GetThreadRequest,
    answer: &mut GetThreadResponse,
) -> Result<(), Error> {
    let mut comments = Vec::new();
    // Pages to fetch, the one that comes next at the end: pages of replies go before
    // what follows the comment that they belong to.
    let mut left: Vec<Left> = vec![Left::new(
        std::mem::take(&mut answer.comments),
        std::mem::take(&mut answer.next_page_token),
    )];
    while let Some(mut page) = left.pop() {
        // The replies of the comment on top are complete once a comment stands that is
        // not below it.
        let next_depth = page.comments.front().map_or(0, |comment| comment.depth);
        if let Some((_, token)) = page.open.pop_if(|(depth, _)| *depth >= next_depth) {
            left.push(page);
            left.push(fetch(client, request, token).await?);
            continue;
        }
        match page.comments.pop_front() {
            Some(mut comment) => {
                let token = std::mem::take(&mut comment.next_page_token);
                if !token.is_empty() {
                    page.open.push((comment.depth, token));
                }
                comments.push(comment);
                left.push(page);
            }
            None if page.next_page_token.is_empty() => {}
            None => left.push(fetch(client, request, page.next_page_token).await?),
        }
    }
    answer.comments = comments;
    Ok(())
}

/// What is left of a page that was fetched.
struct Left {
    comments: std::collections::VecDeque<ThreadComment>,
    next_page_token: String,
    /// Comments whose replies are not all on this page: depth and page token.
    open: Vec<(u32, String)>,
}

impl Left {
    fn new(comments: Vec<ThreadComment>, next_page_token: String) -> Self {
        Self { comments: comments.into(), next_page_token, open: Vec::new() }
    }
}

async fn fetch(
    client: &Client,
    request: &GetThreadRequest,
    page_token: String,
) -> Result<Left, Error> {
    let answer = get(client, &GetThreadRequest { page_token, ..request.clone() }).await?;
    Ok(Left::new(answer.comments, answer.next_page_token))
}

fn print_json(options: &Options, answer: &GetThreadResponse) -> Result<(), Error> {
    if let Some(post) = &answer.post {
        output::print(json::line(post, &answer.position))?;
    }
    for comment in &answer.comments {
        output::print(json::line(comment, ""))?;
    }
    if !answer.next_page_token.is_empty() {
        super::more(options, "thread", &answer.next_page_token);
    }
    Ok(())
}

/// What people see; `command` shows all of it.
fn tree(command: &str, request: &GetThreadRequest, answer: &GetThreadResponse) -> String {
    let options =
        thread::Options { command, width: text::terminal_width(), now: SystemTime::now() };
    let post = answer.post.clone().unwrap_or_default();
    let tree = thread::tree(&answer.comments, &answer.next_page_token, &options);
    // A page that goes on needs no reminder of what the thread is about.
    let head = match request.page_token.is_empty() {
        true => thread::post(&post, &options) + "\n",
        false => String::new(),
    };
    match tree.is_empty() {
        true => head + &thread::none(&post),
        false => head + &tree,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_all_of_it_keeps_the_flags() {
        let show = Show {
            post: Some(PostName::ExternalKey("a page".into())),
            order: Order::Oldest,
            hidden: true,
            page_size: Some(3),
            replies: Some(2),
            page_token: None,
            all: false,
            position: Position::default(),
        };
        assert_eq!(show.command(), "thread 'a page' --order oldest --hidden --all");
    }
}
