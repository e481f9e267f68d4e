//! One database against the other.

use std::{sync::Arc, time::Duration};

use super::{load::median, processes::Processes, report::Row, rows::per_second};
use crate::{Databases, Result};

/// CreateComment on PostgreSQL against CreateComment on SQLite, each with a process for
/// every service.
///
/// # Errors
/// The first error of a call.
pub async fn postgres(texts: Vec<String>, round: Duration, rounds: usize) -> Result<Row> {
    let texts = Arc::new(texts);
    let files = Processes::start(Databases::Files).await?;
    let server = Processes::start(Databases::Postgres { replicas: 1 }).await?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let sqlite = files.rate(&texts, round).await?;
        let postgres = server.rate(&texts, round).await?;
        ratios.push(postgres / sqlite);
        ours.push(postgres);
        theirs.push(sqlite);
    }
    Ok(Row::at_least(
        "CreateComment on PostgreSQL vs on SQLite",
        per_second(median(ours)),
        per_second(median(theirs)),
        median(ratios),
        0.33,
    ))
}
