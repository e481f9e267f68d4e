//! What can be given to every command, and what several of them share.

use std::path::PathBuf;

use bus_schema::Site;
use chassis::auth;
use clap::{Args, ValueEnum};

use crate::{folder::shell_word, render::text};

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

    /// When to use colours; auto means on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        global = true,
        default_value_t,
        hide_default_value = true
    )]
    pub color: Color,

    /// The server's address [default: that of the running `agora up`]
    #[arg(long, value_name = "URL", global = true, env = "AGORA_SERVER", hide = true,
        help_heading = CLIENT)]
    pub server: Option<String>,

    #[command(flatten)]
    pub servers: Servers,

    /// A bearer token [default: made with the key of the local `agora up`]
    #[arg(
        long,
        global = true,
        env = "AGORA_TOKEN",
        hide_env_values = true,
        hide = true,
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
        hide = true,
        help_heading = CLIENT
    )]
    pub token_file: Option<PathBuf>,

    /// A private key, in PEM, to make the token with [default: that of the local `agora up`]
    #[arg(long, value_name = "FILE", global = true, env = "AGORA_KEY", hide = true,
        help_heading = CLIENT)]
    pub key: Option<PathBuf>,

    /// What servers expect as a token's issuer [default: that of the running `agora up`, or
    /// agora]
    #[arg(long, global = true, env = "AGORA_ISSUER", hide = true,
        help_heading = CLIENT)]
    pub issuer: Option<String>,

    /// What servers expect as a token's audience [default: as for the issuer]
    #[arg(long, global = true, env = "AGORA_AUDIENCE", hide = true,
        help_heading = CLIENT)]
    pub audience: Option<String>,

    /// The site [default: main]
    #[arg(long, global = true, env = "AGORA_SITE", value_parser = site, hide = true,
        help_heading = CLIENT)]
    pub site: Option<String>,

    /// Who you are: the id in the token that is made [default: your user name]
    #[arg(long, global = true, env = "AGORA_USER", hide = true,
        help_heading = CLIENT)]
    pub user: Option<String>,

    /// Your roles in the token that is made, separated by commas [default: what the
    /// command needs]
    #[arg(long, value_enum, global = true, value_delimiter = ',', hide = true,
        help_heading = CLIENT)]
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
        hide = true,
        help_heading = CLIENT
    )]
    pub post_server: Option<String>,

    /// Where the comment service is [default: --server]
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "AGORA_COMMENT_SERVER",
        hide = true,
        help_heading = CLIENT
    )]
    pub comment_server: Option<String>,

    /// Where the moderation service is [default: --server]
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "AGORA_MODERATION_SERVER",
        hide = true,
        help_heading = CLIENT
    )]
    pub moderation_server: Option<String>,

    /// Where the query service is [default: --server]
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "AGORA_QUERY_SERVER",
        hide = true,
        help_heading = CLIENT
    )]
    pub query_server: Option<String>,
}

/// Under which heading the options are that only client commands take. `agora help client`
/// shows them all, other commands those that matter to them: see [`crate::arguments`].
pub const CLIENT: &str = "Client options";

/// A site's slug, or `*` for a token on every site.
fn site(text: &str) -> Result<String, String> {
    if text != "*" && text.parse::<Site>().is_err() {
        let most = Site::MAX_LENGTH;
        return Err(format!("a site is a slug: 1 to {most} of a-z, 0-9 and -, such as my-blog"));
    }
    Ok(text.to_owned())
}

impl Options {
    /// The site that a command is about.
    pub fn site(&self) -> &str {
        self.site.as_deref().unwrap_or("main")
    }

    /// A command to propose, on the same installation and the same site.
    pub fn propose(&self, command: &str) -> String {
        let data = self.data.as_ref().map(|data| data.to_string_lossy());
        let named = [
            ("--site", self.site.as_deref()),
            ("--server", self.server.as_deref()),
            ("--data", data.as_deref()),
        ];
        let mut proposed = format!("agora {command}");
        for (name, value) in named {
            if let Some(value) = value {
                proposed.push_str(&format!(" {name} {}", shell_word(&text::line(value))));
            }
        }
        proposed
    }
}

/// When output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
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

/// Where a list goes on, and what it must include.
#[derive(Clone, Debug, Default, Args)]
pub struct Page {
    /// How many on a page
    #[arg(long, value_name = "N")]
    pub page_size: Option<i32>,
    /// Continue where an earlier page ended
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

/// What a change expects of the resource that it changes.
#[derive(Clone, Debug, Default, Args)]
pub struct Expected {
    /// Fail unless this is still the newest revision
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub revision: u32,
    #[command(flatten)]
    pub position: Position,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_is_about_the_same_installation_and_site() {
        let mut options = Options::default();
        assert_eq!(options.propose("feed"), "agora feed");
        options.site = Some("blog".into());
        options.data = Some("/a b".into());
        assert_eq!(options.propose("queue"), "agora queue --site blog --data '/a b'");
    }

    #[test]
    fn a_site_is_a_slug() {
        assert_eq!(site("my-blog-2"), Ok("my-blog-2".into()));
        assert_eq!(site("*"), Ok("*".into()));
        for wrong in ["", "My Blog", "blog/1", &"x".repeat(41)] {
            let told = site(wrong).unwrap_err();
            assert!(told.contains("1 to 40 of a-z, 0-9 and -"), "{told}");
        }
    }
}
