//! `agora token`: print an access token, or write it to a file.

use std::{path::PathBuf, time::Duration};

use clap::error::ErrorKind;

use crate::{
    duration,
    error::Error,
    file,
    folder::Folder,
    options::Options,
    output,
    token::{self, Issuer},
};

const EXAMPLES: &str = "\
Examples:
  agora token --user ann --role author
  agora token --user bob --name 'Bob B.' --site blog --role moderator,author
  agora token --user root --site '*' --role operator --lifetime 30d --key key.pem

  grpcurl -plaintext -H \"authorization: Bearer $(agora token --user ann --role author)\" \\
    -d '{\"site\": \"main\", \"title\": \"Hello\"}' \\
    localhost:7400 agora.post.v1.PostService/CreatePost";

/// What `agora token` takes besides --user, --site and --role.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The name that people see [default: the user's id]
    #[arg(long)]
    name: Option<String>,
    /// How long the token is valid, such as 30m, 24h or 7d
    #[arg(long, value_parser = duration::parse, default_value = "24h")]
    lifetime: Duration,
    /// Writes it to a file that its owner alone may read, and prints nothing
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// `all` is the whole command line, for usage errors.
pub fn run(
    options: &Options,
    arguments: Arguments,
    all: fn() -> clap::Command,
) -> Result<(), Error> {
    let Some(user) = &options.user else { missing("--user <USER>", all) };
    if options.role.is_empty() {
        missing("--role <ROLE>", all);
    }
    let run = Folder::find(options.data.as_deref()).ok().and_then(|folder| folder.running());
    let key = match &options.key {
        Some(key) => key.clone(),
        None => Folder::find(options.data.as_deref())?.file("key.pem"),
    };
    let issuer = Issuer::of(options, &key, run.as_ref());
    let name = arguments.name.as_deref().unwrap_or(user);
    let site = options.site();
    let token = token::make(&issuer, user, name, site, &options.role, arguments.lifetime)?;
    match &arguments.to {
        Some(path) => file::write(path, &token, 0o600).map_err(Error::file("write", path)),
        None => output::print(token),
    }
}

/// Ends with the usage error of an option that other commands can do without.
fn missing(option: &str, all: fn() -> clap::Command) -> ! {
    let mut command = all();
    command.build();
    let command = command.find_subcommand_mut("token").expect("it is one of the commands");
    command
        .error(
            ErrorKind::MissingRequiredArgument,
            format!("the following required arguments were not provided:\n  {option}"),
        )
        .exit()
}
