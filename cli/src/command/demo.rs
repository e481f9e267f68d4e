//! `agora demo`: a site with real comments, to look around in.

use std::pin::pin;

use agora_proto::moderation::v1::{Case, CaseState, ListCasesRequest, Policy, SetPolicyRequest};
use eventstore::Position;
use futures::{StreamExt as _, stream};
use serde::Serialize;
use uuid::Uuid;

use super::policy;
use crate::{
    client::{Client, call},
    error::Error,
    import::{
        load::{self, IN_FLIGHT, Loading, Outcome},
        report::{self, Report},
        sample::{self, Discussion},
    },
    options::{Options, Role},
    output,
    progress::Progress,
    render::{count, style},
};

const EXAMPLES: &str = "\
Examples:
  agora demo
  agora demo --site playground
  agora thread demo:roar --site demo
  agora queue --site demo

It writes three posts with 200 comments of real people, replies among them three deep, and sets
a policy where the site has none: advertising waits for a moderator. The site is `demo` if
--site names no other. A second run adds nothing.";

/// The site, where none is named.
const SITE: &str = "demo";
const POLICY: &str = include_str!("../import/demo-policy.toml");
/// How many cases are asked for at once.
const PAGE_SIZE: i32 = 500;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

/// What a run made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    site: String,
    posts: Vec<Report>,
    /// How many comments are new.
    imported: u64,
    /// How many comments of the site wait for a moderator.
    open_cases: usize,
}

pub async fn run(options: &Options, _: Arguments) -> Result<(), Error> {
    let mut options = options.clone();
    options.site.get_or_insert(SITE.to_owned());
    if options.role.is_empty() {
        options.role = vec![Role::Admin, Role::Operator];
    }
    let client = Client::connect(&options, Role::Operator).await?;
    let policy = policy::from_toml(POLICY)?.policy;
    let discussions = sample::discussions(|text| may_be_held(&policy, text))?;
    set_policy(&client, policy).await?;

    let mut posts = Vec::new();
    for discussion in &discussions {
        let mut report = Report { file: discussion.draft.title.clone(), ..Report::default() };
        write(&client, discussion, &mut report).await?;
        if !options.json {
            output::print(report.lines())?;
        }
        posts.push(report);
    }
    let positions = posts.iter().map(|report| report.position);
    let position = positions.fold(Position::ZERO, Position::merge);
    load::settle(&client, position).await;

    let queue = open_cases(&client, position).await?;
    let imported = posts.iter().map(|report| report.imported).sum();
    if options.json {
        let made = Made { site: client.site(), posts, imported, open_cases: queue.len() };
        return output::print(serde_json::to_string(&made).expect("what was made is JSON"));
    }
    let made = match imported {
        0 => "nothing is new: all of it was there already".to_owned(),
        _ => report::total(&posts, "post"),
    };
    let waiting = style::pending(&format!("{} for a moderator", waits(queue.len())));
    output::print(format!("site {}: {made}\n{waiting}", client.site()))?;
    output::print(next(&options, &discussions, queue.first()))
}

fn waits(cases: usize) -> String {
    let verb = if cases == 1 { "waits" } else { "wait" };
    format!("{} {verb}", count(cases as u64, "comment"))
}

/// Whether the policy may hold a text: a guess, which only decides on what is replied to.
fn may_be_held(policy: &Policy, text: &str) -> bool {
    let text = text.to_lowercase();
    let has = |words: &[String]| words.iter().any(|word| text.contains(word));
    let is_long = text.chars().count() > policy.max_length as usize;
    is_long
        || has(&policy.suspect_words)
        || ["http", "www.", ".com"].iter().any(|it| text.contains(it))
}

/// Gives the site its policy, if it has the built-in one.
async fn set_policy(client: &Client, policy: Policy) -> Result<(), Error> {
    let (current, _) = policy::get(client, 0, String::new()).await?;
    if current.version > 0 {
        return Ok(());
    }
    let name = format!("{} agora demo", client.site());
    let request = SetPolicyRequest {
        site: client.site(),
        policy: Some(Policy { site: client.site(), ..policy }),
        request_id: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string(),
        position: String::new(),
    };
    call(&request, |request| {
        let mut moderation = client.moderation();
        async move { moderation.set_policy(request).await }
    })
    .await?;
    Ok(())
}

/// Writes a post and its comments: those that are replied to first.
async fn write(client: &Client, discussion: &Discussion, report: &mut Report) -> Result<(), Error> {
    let Discussion { draft, comments } = discussion;
    let loading = Loading::start(client, draft, report).await?;
    let mut progress = Progress::start(&draft.title, comments.len() as u64, "comments");
    let mut ids: Vec<Option<String>> = vec![None; comments.len()];
    let deepest = comments.iter().map(|placed| placed.depth).max().unwrap_or_default();
    for depth in 0..=deepest {
        let mut written = Vec::new();
        {
            let level = comments.iter().enumerate().filter(|(_, placed)| placed.depth == depth);
            let replies = level.map(|(place, placed)| {
                let parent_id = placed.parent.map_or(Some(String::new()), |it| ids[it].clone());
                let loading = &loading;
                async move {
                    let outcome = match parent_id {
                        Some(parent_id) => loading.write(placed.comment.clone(), parent_id).await,
                        None => Outcome::Skipped("replies to one that was skipped".to_owned()),
                    };
                    (place, placed.row, outcome)
                }
            });
            let mut outcomes = pin!(stream::iter(replies).buffer_unordered(IN_FLIGHT));
            while let Some((place, row, outcome)) = outcomes.next().await {
                progress.step();
                written.push((place, loading.note(report, row, outcome)?));
            }
        }
        for (place, id) in written {
            ids[place] = id;
        }
    }
    progress.finish();
    Ok(())
}

/// What waits for a moderator on the site, once what was written is judged.
async fn open_cases(client: &Client, position: Position) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    let mut request = ListCasesRequest {
        site: client.site(),
        state: CaseState::Open.into(),
        page_size: PAGE_SIZE,
        position: position.to_string(),
        ..Default::default()
    };
    loop {
        let answer = call(&request, |request| {
            let mut moderation = client.moderation();
            async move { moderation.list_cases(request).await }
        })
        .await?;
        cases.extend(answer.cases);
        if answer.next_page_token.is_empty() {
            return Ok(cases);
        }
        request.page_token = answer.next_page_token;
    }
}

/// What to try next, as a shell takes it.
fn next(options: &Options, discussions: &[Discussion], first: Option<&Case>) -> String {
    let mut lines = vec!["try next:".to_owned()];
    let mut command = |command: &str, note: &str| {
        lines.push(format!(
            "  {}  {}",
            options.propose(command),
            style::faint(&format!("# {note}"))
        ));
    };
    command("feed", "the posts");
    if let Some(Discussion { draft, .. }) = discussions.first() {
        command(&format!("thread {}", draft.external_key), "a post and its comments");
    }
    command("queue", "what waits for a moderator");
    if let Some(case) = first {
        command(&format!("decide approve {}", case.comment_id), "and everybody sees it");
    }
    lines.join("\n")
}
