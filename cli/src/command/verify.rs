//! `agora verify`: are the journals whole, do the streams equal them, does the view
//! equal their fold?

use std::process::ExitCode;

use bus_schema::Source;

use crate::{
    client::Client,
    error::Error,
    nats,
    options::{Options, Role},
    output,
    render::style,
    verify::{report::Finding, source, view},
};

const EXAMPLES: &str = "\
Examples:
  agora verify
  agora verify --json | jq 'select(.difference)'
  agora verify --token TOKEN --nats-url nats://nats:4222 --post-server http://post:7401 \\
    --comment-server http://comment:7402 --moderation-server http://moderation:7403 \\
    --query-server http://query:7404

It checks, on a running system, that
  I2  a journal's sequences have no holes and its hash chain verifies
  I3  a stream equals its journal: the same bytes in the same order, nothing extra
  I5  the view equals a fold of the journals up to its checkpoints
and exits with 0 if all is equal, 1 at a difference, 3 if it cannot check.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    nats: nats::Nats,
}

pub async fn run(options: &Options, arguments: Arguments) -> Result<ExitCode, Error> {
    let compared = compare(options, arguments).await;
    let is_equal = compared.map_err(|error| match error {
        Error::Output(_) => error,
        error => Error::Unchecked(Box::new(error)),
    })?;
    Ok(if is_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares everything, tells as it goes, and returns whether all is equal.
async fn compare(options: &Options, arguments: Arguments) -> Result<bool, Error> {
    let jetstream = nats::connect(options, &arguments.nats).await?;
    let client = Client::connect_for_all_sites(options, Role::Operator).await?;

    let mut differences = 0;
    for source in Source::ALL {
        let findings = source::compare(&client, &jetstream, source).await?;
        differences += tell(options, &findings)?;
    }
    differences += tell(options, &view::compare(&client).await?)?;
    if !options.json {
        output::print(match differences {
            0 => style::good("all is equal"),
            1 => style::bad("1 difference"),
            more => style::bad(&format!("{more} differences")),
        })?;
    }
    Ok(differences == 0)
}

/// Prints what was compared and returns how much of it differs.
fn tell(options: &Options, findings: &[Finding]) -> Result<usize, Error> {
    for finding in findings {
        output::print(if options.json { finding.json() } else { finding.line() })?;
    }
    Ok(findings.iter().filter(|finding| finding.difference.is_some()).count())
}
