//! The command line: the tree of commands.

use std::net::SocketAddr;

use chassis::version::PROGRAM;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    command::{
        admin, comment, completions, decide, demo, events, feed, import, man, policy, post, queue,
        serve, smoke, thread, token, up, verify,
    },
    options::{CLIENT, Options},
};

const EXAMPLES: &str = "\
Examples:
  agora up                                      everything in one process
  agora demo                                    a site with real comments, to look around in
  agora import youtube-csv comments/*.csv       a post per file, with its comments
  agora feed                                    the posts of a site
  agora thread POST                             a post and its tree of comments
  agora queue                                   what waits for a moderator
  agora decide approve COMMENT                  and it is visible
  agora verify                                  is everything equal everywhere?
  agora admin dead-letters list                 what could not be applied
  agora admin rebuild query                     make the view anew, beside the old one

The client commands talk to the `agora up` of the data folder and take a token from
its key by themselves. `agora help client` has the options that name another server,
site or user.";

/// A self-hosted discussion backend: posts, threaded comments, moderation and a fast
/// read side.
#[derive(Debug, Parser)]
#[command(
    name = "agora",
    version = PROGRAM,
    after_help = EXAMPLES,
    arg_required_else_help = true
)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Ask the process that listens there whether it is ready, and end with 0 if it is
    /// [default: where the `agora up` of --data listens, else what AGORA_SERVER__LISTEN says,
    /// else 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS")]
    pub health: Option<Option<SocketAddr>>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, with a NATS server of its own
    Up(up::Arguments),
    /// Run one service
    Serve(serve::Arguments),
    /// Print an access token
    Token(token::Arguments),
    /// Create, read and change posts
    #[command(subcommand)]
    Post(post::Command),
    /// Create, read and change comments
    #[command(subcommand)]
    Comment(comment::Command),
    /// Read a post and its tree of comments
    Thread(thread::Arguments),
    /// List a site's posts with their comment counts and last activity
    Feed(feed::Arguments),
    /// See what waits for a moderator
    Queue(queue::Arguments),
    /// Approve or reject one revision of a comment
    #[command(subcommand)]
    Decide(decide::Command),
    /// Show or set a site's moderation policy
    #[command(subcommand)]
    Policy(policy::Command),
    /// Follow the events on the bus
    #[command(subcommand)]
    Events(events::Command),
    /// Fill a site with real comments and a queue, to look around in
    Demo(demo::Arguments),
    /// Import discussions from elsewhere
    #[command(subcommand)]
    Import(import::Command),
    /// Check a running system end to end: write, moderate, read back, delete
    Smoke(smoke::Arguments),
    /// Check that journals, streams and the view are equal
    Verify(verify::Arguments),
    /// Operate an installation: dead letters, rebuild, restore, streams
    #[command(subcommand)]
    Admin(admin::Command),
    /// Print what a shell completes commands with
    Completions(completions::Arguments),
    /// Print the manual page, or write that of every command
    Man(man::Arguments),
    /// The options of all commands that call a server
    #[command(hide = true, override_usage = "agora COMMAND [OPTIONS]", after_help = SERVERS)]
    Client,
}

/// The client options that single commands show, and commands that show all.
const SHOWN: [(&str, &[&str]); 13] = [
    ("client", ALL),
    ("post", &["site", "user"]),
    ("comment", &["site", "user"]),
    ("thread", &["site"]),
    ("feed", &["site"]),
    ("queue", &["site"]),
    ("decide", &["site", "user"]),
    ("policy", &["site"]),
    ("events", &["site"]),
    ("import", &["site"]),
    ("token", &["site", "user", "role", "key", "issuer", "audience"]),
    ("smoke", ALL),
    ("verify", ALL),
];
/// All of them.
const ALL: &[&str] = &[];

const SERVERS: &str = "\
Where every service has an address of its own, --post-server, --comment-server,
--moderation-server and --query-server name them.";

/// What the help of a command says that shows few of them or none.
const MORE: &str = "Which server, and who calls: agora help client";

/// Reads the command line, and ends the program where it is wrong.
pub fn parse() -> Arguments {
    let read = Arguments::from_arg_matches(&command().get_matches());
    read.unwrap_or_else(|error| error.exit())
}

/// The whole command line. The client options are known to every command, and shown where they
/// matter.
pub fn command() -> clap::Command {
    let command = Arguments::command();
    let client: Vec<clap::Arg> = command
        .get_arguments()
        .filter(|option| option.get_help_heading() == Some(CLIENT))
        .cloned()
        .collect();
    let command = SHOWN.iter().fold(command, |command, (name, shown)| {
        let options = client
            .iter()
            .filter(|option| shown.is_empty() || shown.contains(&option.get_id().as_str()))
            .map(|option| option.clone().hide(false));
        command.mut_subcommand(name, |subcommand| subcommand.args(options))
    });
    let brief = SHOWN.iter().filter(|(_, shown)| !shown.is_empty()).map(|(name, _)| *name);
    brief.chain(["admin"]).fold(command, |command, name| {
        command.mut_subcommand(name, |subcommand| {
            let after = match subcommand.get_after_help() {
                Some(after) => format!("{after}\n\n{MORE}"),
                None => MORE.to_owned(),
            };
            subcommand.after_help(after)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::options::Role;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    fn help(path: &[&str]) -> String {
        let mut command = command();
        command.build();
        let found = path
            .iter()
            .fold(&mut command, |command, name| command.find_subcommand_mut(name).unwrap());
        found.render_long_help().to_string()
    }

    #[test]
    fn client_options_are_shown_where_they_matter() {
        let all = help(&["client"]);
        for option in ["--server", "--query-server", "--token", "--key", "--site", "--role"] {
            assert!(all.contains(&format!("\n      {option}")), "{option} in {all}");
        }
        let post = help(&["post", "create"]);
        assert!(post.contains("--site") && !post.contains("--query-server"), "{post}");
        let up = help(&["up"]);
        assert!(!up.contains("--site") && up.contains("--data"), "{up}");
        assert!(!help(&[]).contains("--site"));
        assert!(help(&["token"]).contains("--audience"));
    }

    #[test]
    fn options_stand_before_and_after_the_command() {
        let parsed = [
            ["agora", "--site", "blog", "--json", "feed"],
            ["agora", "feed", "--json", "--site", "blog"],
        ];
        for arguments in parsed {
            let arguments = Arguments::try_parse_from(arguments).unwrap();
            assert_eq!(arguments.options.site(), "blog");
            assert!(arguments.options.json);
        }
    }

    #[test]
    fn health_is_asked_for_with_and_without_an_address() {
        let health = |line: &[&str]| Arguments::try_parse_from(line).map(|it| it.health);
        assert_eq!(health(&["agora", "--health"]).unwrap(), Some(None));
        let address = "127.0.0.1:7401";
        let given = health(&["agora", "--health", address]).unwrap();
        assert_eq!(given, Some(Some(address.parse().unwrap())));
        assert!(health(&["agora", "--health", "feed"]).is_err());
    }

    #[test]
    fn roles_are_separated_by_commas() {
        let line = ["agora", "feed", "--role", "author,moderator"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        assert_eq!(arguments.options.role, [Role::Author, Role::Moderator]);
    }

    /// What operators are told to type at night: `admin SERVICE ARGUMENTS`.
    #[test]
    fn runbooks_name_commands_that_there_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/runbooks");
        let mut commands = 0;
        for page in fs::read_dir(folder).unwrap() {
            let text = fs::read_to_string(page.unwrap().path()).unwrap();
            for span in text.split(['\n', '`', '|']) {
                let Some(("admin", rest)) = span.trim().split_once(' ') else { continue };
                // What is quoted is one word.
                let parts = rest.split('\'').enumerate().flat_map(|(number, part)| {
                    if number % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
                });
                let line = ["agora", "admin"].into_iter().chain(parts.skip(1));
                if let Err(error) = Arguments::try_parse_from(line) {
                    panic!("{span}: {error}");
                }
                commands += 1;
            }
        }
        assert!(commands > 10, "only {commands} commands");
    }

    #[test]
    fn a_rejection_needs_a_reason() {
        let line = ["agora", "decide", "reject", "0198c0de-0000-7000-8000-000000000000"];
        assert_eq!(Arguments::try_parse_from(line).unwrap_err().exit_code(), 2);
    }
}
