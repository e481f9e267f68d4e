//! The command line: what all commands share.

use std::{net::SocketAddr, path::PathBuf};

use chassis::{auth, version::PROGRAM};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::command::{
    admin, comment, decide, events, feed, import, policy, post, queue, serve, smoke, thread, token,
    up, verify,
};

const EXAMPLES: &str = "\
Examples:
  agora up                                      everything in one process
  agora import youtube-csv comments/*.csv       a post per file, with its comments
  agora feed                                    the posts of a site
  agora thread show POST                        a post and its tree of comments
  agora queue                                   what waits for a moderator
  agora decide approve COMMENT                  and it is visible
  agora verify                                  is everything equal everywhere?
  agora admin dead-letters list                 what could not be applied
  agora admin rebuild query                     make the view anew, beside the old one

The client commands talk to the `agora up` of the data folder and take a token from
its key by themselves; --server and --token name another server. Where every service
has an address of its own, --post-server, --comment-server, --moderation-server and
--query-server name them, or AGORA_POST_SERVER and so on.";

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

/// What can be given before and after every command.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// The data folder of `agora up`: commands ask the one that runs on it, and no other
    /// [default: agora in the user's data folder]
    #[arg(long, value_name = "DIR", global = true, env = "AGORA_DATA")]
    pub data: Option<PathBuf>,

    /// Print JSON, one resource a line
    #[arg(long, global = true)]
    pub json: bool,

    /// The server's address [default: that of the running `agora up`]
    #[arg(long, value_name = "URL", global = true, env = "AGORA_SERVER", help_heading = CLIENT)]
    pub server: Option<String>,

    #[command(flatten)]
    pub servers: Servers,

    /// A bearer token [default: made with the key of the local `agora up`]
    #[arg(
        long,
        global = true,
        env = "AGORA_TOKEN",
        hide_env_values = true,
        help_heading = CLIENT
    )]
    pub token: Option<String>,

    /// A file that holds the bearer token
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "AGORA_TOKEN_FILE",
        conflicts_with = "token",
        help_heading = CLIENT
    )]
    pub token_file: Option<PathBuf>,

    /// A private key, in PEM, to make the token with [default: that of the local `agora up`]
    #[arg(long, value_name = "FILE", global = true, env = "AGORA_KEY", help_heading = CLIENT)]
    pub key: Option<PathBuf>,

    /// What servers expect as a token's issuer [default: that of the running `agora up`, or
    /// agora]
    #[arg(long, global = true, env = "AGORA_ISSUER", help_heading = CLIENT)]
    pub issuer: Option<String>,

    /// What servers expect as a token's audience [default: as for the issuer]
    #[arg(long, global = true, env = "AGORA_AUDIENCE", help_heading = CLIENT)]
    pub audience: Option<String>,

    /// The site [default: main]
    #[arg(long, global = true, env = "AGORA_SITE", help_heading = CLIENT)]
    pub site: Option<String>,

    /// Who you are: the id in the token that is made [default: your user name]
    #[arg(long, global = true, env = "AGORA_USER", help_heading = CLIENT)]
    pub user: Option<String>,

    /// Your roles in the token that is made, separated by commas [default: what the
    /// command needs]
    #[arg(long, value_enum, global = true, value_delimiter = ',', help_heading = CLIENT)]
    pub role: Vec<Role>,
}

/// Where the services are that do not share one address.
#[derive(Clone, Debug, Default, Args)]
pub struct Servers {
    /// Where the post service is [default: --server]
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "AGORA_POST_SERVER",
        help_heading = CLIENT
    )]
    pub post_server: Option<String>,

    /// Where the comment service is [default: --server]
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "AGORA_COMMENT_SERVER",
        help_heading = CLIENT
    )]
    pub comment_server: Option<String>,

    /// Where the moderation service is [default: --server]
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "AGORA_MODERATION_SERVER",
        help_heading = CLIENT
    )]
    pub moderation_server: Option<String>,

    /// Where the query service is [default: --server]
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "AGORA_QUERY_SERVER",
        help_heading = CLIENT
    )]
    pub query_server: Option<String>,
}

const CLIENT: &str = "Client options";

impl Options {
    /// The site that a command is about.
    pub fn site(&self) -> &str {
        self.site.as_deref().unwrap_or("main")
    }
}

/// What a principal is on a site, as tokens say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Reader,
    Author,
    Moderator,
    Admin,
    Operator,
    Service,
}

impl From<Role> for auth::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Author => Self::Author,
            Role::Moderator => Self::Moderator,
            Role::Admin => Self::Admin,
            Role::Operator => Self::Operator,
            Role::Service => Self::Service,
        }
    }
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
    #[command(subcommand)]
    Thread(thread::Command),
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
    /// Import discussions from elsewhere
    #[command(subcommand)]
    Import(import::Command),
    /// Write, decide, read back and delete: does all of it work?
    Smoke(smoke::Arguments),
    /// Check that journals, streams and the view are equal
    Verify(verify::Arguments),
    /// What operators do
    #[command(subcommand)]
    Admin(admin::Command),
}

/// Where a list goes on, and what it must include.
#[derive(Clone, Debug, Default, Args)]
pub struct Page {
    /// How many on a page
    #[arg(long, value_name = "N")]
    pub page_size: Option<i32>,
    /// Go on where an earlier page ended
    #[arg(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
    /// All pages
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub position: Position,
}

/// What an answer must include.
#[derive(Clone, Debug, Default, Args)]
pub struct Position {
    /// Include what an earlier answer returned as its position
    #[arg(long, value_name = "POSITION")]
    pub position: Option<String>,
}

impl Position {
    /// As requests carry it.
    pub fn text(&self) -> String {
        self.position.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
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
