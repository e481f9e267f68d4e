//! `agora queue`: what waits for a moderator.

use agora_proto::moderation::v1::{
    Case, CaseState, GetCaseRequest, GetCaseResponse, ListCasesRequest,
};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    client::{Client, rpc},
    error::Error,
    json,
    options::{Options, Page, Position, Role},
    output, render,
};

use super::list::{self, Listed};

const EXAMPLES: &str = "\
Examples:
  agora queue                      the open cases, oldest first
  agora queue --state closed
  agora queue show COMMENT         one case with its whole context
  agora queue --all --json | jq -r .commentId
  agora decide approve COMMENT";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List cases, oldest first (also without `list`)
    List(List),
    /// Show one case with its whole context
    Show(Show),
}

#[derive(Debug, Args)]
struct List {
    /// Which cases
    #[arg(long, value_enum, default_value_t = State::Open)]
    state: State,
    #[command(flatten)]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// The newest revision waits for a moderator
    Open,
    /// Decided, or the comment is deleted
    Closed,
}

#[derive(Debug, Args)]
struct Show {
    /// The comment's id
    comment: String,
    #[command(flatten)]
    position: Position,
}

pub async fn run(options: &Options, arguments: Arguments) -> Result<(), Error> {
    let client = Client::connect(options, Role::Moderator).await?;
    match arguments.command {
        Some(Command::List(list)) => print_list(options, &client, list).await,
        Some(Command::Show(show)) => print_case(options, &client, show).await,
        None => print_list(options, &client, arguments.list).await,
    }
}

async fn print_list(options: &Options, client: &Client, list: List) -> Result<(), Error> {
    let List { state, page } = list;
    let (state, command) = match state {
        State::Open => (CaseState::Open, "queue"),
        State::Closed => (CaseState::Closed, "queue --state closed"),
    };
    let fetch = async |page_token| {
        let request = ListCasesRequest {
            site: client.site(),
            state: state.into(),
            page_size: page.page_size.unwrap_or_default(),
            page_token,
            position: page.position.text(),
        };
        let answer = rpc!(client.moderation().list_cases(request))?;
        Ok(Listed {
            items: answer.cases,
            next_page_token: answer.next_page_token,
            position: answer.position,
        })
    };
    let entry = |case: &Case| render::case::entry(case) + "\n\n";
    let shown = list::print(options, &page, command, fetch, entry).await?;
    if !options.json {
        output::remark(match shown {
            true => format!("decide: {}", options.propose("decide approve|reject COMMENT")),
            false => "the queue is empty".to_owned(),
        });
    }
    Ok(())
}

async fn print_case(options: &Options, client: &Client, show: Show) -> Result<(), Error> {
    let answer = get(client, show.comment, show.position.text()).await?;
    let case = answer.moderation_case.unwrap_or_default();
    let context = answer.context.unwrap_or_default();
    if options.json {
        let mut value = json::value(&case);
        if let Some(object) = value.as_object_mut() {
            object.insert("context".to_owned(), json::value(&context));
            object.insert("position".to_owned(), answer.position.into());
        }
        return output::print(value.to_string());
    }
    output::print(render::case::show(&case, &context))
}

/// A case with its context.
pub async fn get(
    client: &Client,
    comment_id: String,
    position: String,
) -> Result<GetCaseResponse, Error> {
    let request = GetCaseRequest { site: client.site(), comment_id, position };
    rpc!(client.moderation().get_case(request))
}
