//! `agora queue`: what waits for a moderator.

use agora_proto::moderation::v1::{CaseState, GetCaseRequest, GetCaseResponse, ListCasesRequest};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    arguments::{Options, Page, Position, Role},
    client::{Client, call},
    error::Error,
    json, output, render,
};

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
    let (state, flag) = match state {
        State::Open => (CaseState::Open, ""),
        State::Closed => (CaseState::Closed, " --state closed"),
    };
    let mut request = ListCasesRequest {
        site: client.site(),
        state: state.into(),
        page_size: page.page_size.unwrap_or_default(),
        page_token: page.page_token.unwrap_or_default(),
        position: page.position.text(),
    };
    let mut shown = false;
    loop {
        let answer = call(&request, |request| {
            let mut moderation = client.moderation();
            async move { moderation.list_cases(request).await }
        })
        .await?;
        for case in &answer.cases {
            shown = true;
            output::print(match options.json {
                true => json::line(case, &answer.position),
                false => render::case::entry(case) + "\n\n",
            })?;
        }
        if answer.next_page_token.is_empty() {
            break;
        }
        if !page.all {
            super::more(&format!("agora queue{flag}"), &answer.next_page_token);
            break;
        }
        request.page_token = answer.next_page_token;
    }
    if !options.json {
        match shown {
            true => output::remark("decide: agora decide approve|reject COMMENT"),
            false => output::remark("the queue is empty"),
        }
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
    call(&request, |request| {
        let mut moderation = client.moderation();
        async move { moderation.get_case(request).await }
    })
    .await
}
