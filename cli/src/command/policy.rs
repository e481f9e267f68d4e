//! `agora policy`: show or set a site's moderation policy.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use agora_proto::moderation::v1::{GetPolicyRequest, Mode, Policy, SetPolicyRequest};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{
    client::{Client, call, request_id},
    duration,
    error::Error,
    json,
    options::{Options, Position, Role},
    output, render,
};

const EXAMPLES: &str = "\
Examples:
  agora policy show > policy.toml
  agora policy set policy.toml

A policy file is TOML (or JSON, by its name's end) with the fields of
agora.moderation.v1.Policy, for example:

  mode = \"approve_unless_held\"     # or \"hold_all\"
  banned_words = [\"viagra\"]        # reject
  suspect_words = [\"subscribe\"]    # hold
  suspect_patterns = ['(?i)\\bfree\\s+money\\b']
  max_links = 2
  listed_domains = [\"spam.example\"]
  repeated_text_count = 3
  repeated_text_window = \"1h\"
  max_length = 5000
  hold_first_comments = 1
  trusted_author_ids = [\"ann\"]

A file that names a `version` is refused if the policy has changed since.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Show the policy as a file that `set` takes
    Show(Show),
    /// Replace the policy; it judges the revisions that come after it
    Set(Set),
}

#[derive(Debug, Args)]
pub struct Show {
    /// An earlier version [default: the newest]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    version: u32,
    #[command(flatten)]
    position: Position,
}

#[derive(Debug, Args)]
pub struct Set {
    /// A TOML or JSON file
    file: PathBuf,
    #[command(flatten)]
    position: Position,
}

pub async fn run(options: &Options, command: Command) -> Result<(), Error> {
    let client = Client::connect(options, Role::Admin).await?;
    match command {
        Command::Show(arguments) => {
            let position = arguments.position.text();
            let (policy, position) = get(&client, arguments.version, position).await?;
            match options.json {
                true => output::print(json::line(&policy, &position)),
                false => output::print(to_toml(&policy)),
            }
        }
        Command::Set(arguments) => {
            let (policy, position) = set(&client, arguments).await?;
            match options.json {
                true => output::print(json::line(&policy, &position)),
                false => output::print(format!(
                    "site {} now has policy version {}",
                    policy.site, policy.version
                )),
            }
        }
    }
}

/// A version of the policy (0 is the newest), and the position of the answer.
pub async fn get(
    client: &Client,
    version: u32,
    position: String,
) -> Result<(Policy, String), Error> {
    let request = GetPolicyRequest { site: client.site(), version, position };
    let answer = call(&request, |request| {
        let mut moderation = client.moderation();
        async move { moderation.get_policy(request).await }
    })
    .await?;
    Ok((answer.policy.unwrap_or_default(), answer.position))
}

async fn set(client: &Client, arguments: Set) -> Result<(Policy, String), Error> {
    let position = arguments.position.text();
    let File { mut policy, has_version } = read(&arguments.file)?;
    if !has_version {
        policy.version = get(client, 0, position.clone()).await?.0.version;
    }
    policy.site = client.site();
    let request = SetPolicyRequest {
        site: client.site(),
        policy: Some(policy),
        request_id: request_id(),
        position,
    };
    let answer = call(&request, |request| {
        let mut moderation = client.moderation();
        async move { moderation.set_policy(request).await }
    })
    .await?;
    Ok((answer.policy.unwrap_or_default(), answer.position))
}

/// A policy file.
#[derive(Debug)]
pub struct File {
    pub policy: Policy,
    /// Whether it says on which version it was made.
    has_version: bool,
}

fn read(path: &Path) -> Result<File, Error> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let parsed = if is_json { from_json(&text) } else { from_toml(&text) };
    parsed.map_err(Error::file("use the policy in", path))
}

fn from_json(text: &str) -> Result<File, Error> {
    let value = serde_json::from_str(text).map_err(|error| Error::plain(error.to_string()))?;
    parse(value)
}

/// A policy as people write it.
pub fn from_toml(text: &str) -> Result<File, Error> {
    // Only the first line of the parser's message: the rest draws the place.
    let first_line = |error: toml::de::Error| {
        let message = error.to_string();
        let place = message.lines().next().unwrap_or_default().to_owned();
        Error::plain(format!("{place}: {}", error.message()))
    };
    parse(toml::from_str(text).map_err(first_line)?)
}

/// A policy from its fields, with the mode and the window as people write them.
fn parse(mut value: Value) -> Result<File, Error> {
    let Some(fields) = value.as_object_mut() else {
        return Err(Error::plain("a policy is a table of fields"));
    };
    if let Some(Value::String(mode)) = fields.get_mut("mode")
        && !mode.starts_with("MODE_")
    {
        *mode = format!("MODE_{}", mode.to_uppercase().replace([' ', '-'], "_"));
    }
    for name in ["repeated_text_window", "repeatedTextWindow"] {
        if let Some(Value::String(window)) = fields.get_mut(name) {
            // What is no duration of ours may be one of protobuf's, such as 1.5s.
            if let Ok(parsed) = duration::parse(window) {
                *window = format!("{}s", parsed.as_secs());
            }
        }
    }
    let has_version = fields.contains_key("version");
    // What the server fills in is no wish of the file's.
    for name in ["position", "update_time", "updateTime", "updated_by", "updatedBy"] {
        fields.remove(name);
    }
    Ok(File { policy: json::parse(value)?, has_version })
}

/// A policy as a file that [`from_toml`] reads.
fn to_toml(policy: &Policy) -> String {
    let mut table = toml::Table::new();
    let mut number = |name: &str, number: u32| {
        table.insert(name.to_owned(), i64::from(number).into());
    };
    number("version", policy.version);
    number("repeated_text_count", policy.repeated_text_count);
    number("max_length", policy.max_length);
    number("hold_first_comments", policy.hold_first_comments);
    if let Some(max_links) = policy.max_links {
        number("max_links", max_links);
    }
    let mode = match policy.mode() {
        Mode::HoldAll => "hold_all",
        Mode::ApproveUnlessHeld | Mode::Unspecified => "approve_unless_held",
    };
    table.insert("mode".to_owned(), mode.into());
    let window = policy.repeated_text_window.unwrap_or_default();
    let window = Duration::try_from(window).unwrap_or_default();
    if !window.is_zero() {
        let window = duration::format(window);
        table.insert("repeated_text_window".to_owned(), window.into());
    }
    let lists = [
        ("banned_words", &policy.banned_words),
        ("suspect_words", &policy.suspect_words),
        ("suspect_patterns", &policy.suspect_patterns),
        ("listed_domains", &policy.listed_domains),
        ("trusted_author_ids", &policy.trusted_author_ids),
    ];
    for (name, list) in lists {
        table.insert(name.to_owned(), list.clone().into());
    }
    let body = toml::to_string_pretty(&table).expect("texts, numbers and lists are TOML");
    head(policy) + &body
}

fn head(policy: &Policy) -> String {
    let site = &policy.site;
    if policy.version == 0 {
        return format!("# the policy of site {site}: the built-in one\n");
    }
    let by = render::text::line(&policy.updated_by);
    let time = render::time::exact(policy.update_time.as_ref());
    format!("# the policy of site {site}, set by {by} at {time}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_shown_as_it_is_read() {
        let policy = Policy {
            version: 4,
            mode: Mode::HoldAll.into(),
            banned_words: vec!["viagra \"x\"".into()],
            suspect_patterns: vec![r"\bfree\b".into()],
            max_links: Some(0),
            repeated_text_count: 3,
            repeated_text_window: Some(prost_types::Duration { seconds: 5_400, nanos: 0 }),
            trusted_author_ids: vec!["ann".into()],
            ..Policy::default()
        };
        let file = from_toml(&to_toml(&policy)).unwrap();
        assert!(file.has_version);
        assert_eq!(file.policy, policy);
    }

    #[test]
    fn a_policy_is_read_from_json_in_either_spelling() {
        let snake = from_json(r#"{"mode": "hold_all", "max_links": 2}"#).unwrap();
        let camel = from_json(r#"{"mode": "MODE_HOLD_ALL", "maxLinks": 2}"#).unwrap();
        assert_eq!(snake.policy, camel.policy);
        assert_eq!(snake.policy.max_links, Some(2));
        assert!(!snake.has_version);
    }

    #[test]
    fn what_is_no_policy_is_refused_in_one_line() {
        for text in ["colour = 'red'", "max_links = 'many'", "mode = 'sometimes'", "x", "= 1"] {
            let error = from_toml(text).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
