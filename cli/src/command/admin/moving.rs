//! `agora admin move`: from a SQLite file to a PostgreSQL database.

use std::path::{Path, PathBuf};

use bus_schema::Source;
use chassis::config::Secret;
use clap::Args;
use eventstore::{
    Store,
    database::migrate_to_postgres::{self, Moved, Step},
};
use serde_json::json;

use crate::{
    error::Error,
    folder::Folder,
    options::Options,
    output,
    progress::Progress,
    render::{count, style},
};

const EXAMPLES: &str = "\
Examples:
  export AGORA_DATABASE__URL=postgres://agora:PASSWORD@db:5432/comment
  agora admin move comment --from /var/lib/agora/comment.db
  agora admin move post --data /srv/agora --to postgres://agora@db:5432/post

Stop the service before. The file is only read, and stays the service's if the move fails.
The database must be empty. It is filled in one transaction, which commits once all of it was
read back and found equal. The command is idempotent: an interrupted move leaves nothing
behind, and a finished one is verified again.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Move {
    /// post, comment or moderation
    service: Source,
    /// The SQLite file [default: that of `agora up` in the data folder]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The PostgreSQL database, as the service will name it; in the environment nobody else sees
    /// its password
    #[arg(long, value_name = "URL", env = "AGORA_DATABASE__URL", hide_env_values = true)]
    to: String,
}

pub async fn run(options: &Options, Move { service, from, to }: Move) -> Result<(), Error> {
    let from = match from {
        Some(file) => file,
        None => Folder::find(options.data.as_deref())?.file(&format!("{service}.db")),
    };
    let migrations = match service {
        Source::Post => agora_post::store::Postgres::migrations(),
        Source::Comment => agora_comment::store::Postgres::migrations(),
        Source::Moderation => agora_moderation::store::Postgres::migrations(),
    };
    let mut progress = Progress::start(doing(Step::Copying), 0, "rows");
    let mut last = Step::Copying;
    let mut tell = |step, done, total| {
        if step != last {
            progress.rename(doing(step));
            last = step;
        }
        progress.set(done, total);
    };
    let moved =
        migrate_to_postgres::to_server(&from, &Secret::from(to.as_str()), migrations, &mut tell)
            .await;
    progress.finish();
    let moved = moved.map_err(Error::failed(format!("the {service} service is not moved")))?;
    if options.json {
        return output::print(
            json!({
                "service": service.as_str(),
                "journalSequence": moved.head.sequence.0,
                "journalHash": moved.head.hash.to_hex(),
                "rows": moved.tables,
                "wasDone": moved.was_done,
            })
            .to_string(),
        );
    }
    report(service, &from, &moved)
}

/// What was moved, and what to set for the service to go on with it.
fn report(service: Source, from: &Path, moved: &Moved) -> Result<(), Error> {
    let what = if moved.was_done { "was moved before, and is equal" } else { "moved" };
    let head = &moved.head;
    output::print(style::good(&format!(
        "{service}: {what}; its journal has {} and verifies, its last hash is {}",
        count(head.sequence.0, "event"),
        head.hash.to_hex(),
    )))?;
    for (table, rows) in &moved.tables {
        output::print(format!("  {table}: {}", count(*rows, "row")))?;
    }
    let secret = from.with_file_name("secret");
    let secret = match secret.is_file() {
        true => format!("what {} holds", secret.display()),
        false => "as before".to_owned(),
    };
    let fallback = match service {
        Source::Moderation => String::new(),
        _ => format!(
            "\n  AGORA_FALLBACK__{}__URL  for the query service, instead of …__PATH",
            service.as_str().to_uppercase()
        ),
    };
    output::print(format!(
        "Now start the {service} service with\n  \
         AGORA_DATABASE__URL    the address that was moved to\n  \
         AGORA_SERVER__SECRET   {secret}: with it retries are known{fallback}\n\
         and keep {} until you are content.",
        from.display()
    ))
}

const fn doing(step: Step) -> &'static str {
    match step {
        Step::Copying => "copying",
        Step::Comparing => "comparing",
    }
}
