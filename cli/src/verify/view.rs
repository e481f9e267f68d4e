//! The view, against a fresh fold of the journals up to its checkpoints.

use std::time::Duration;

use agora_proto::admin::v1::{GetViewDigestRequest, GetViewDigestResponse};
use agora_query::{Replay, store::Digest};
use bus_schema::{Checkpoint, Event, Sequence, Source};
use eventstore::{
    Position,
    consumer::MAX_BATCH,
    delivery::{Batch, Delivery},
};
use tokio::time::{Instant, sleep};

use super::{
    Difference, Row,
    journal::{self, Journal},
    report::Finding,
};
use crate::{
    client::{Client, call},
    error::Error,
    output,
    render::count,
};

/// How long the view may take to include what was there when it was first asked.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

/// Compares every table of the view with that of a fold of the journals, up to the
/// checkpoints that the view names: what is written meanwhile does no harm.
pub async fn compare(client: &Client) -> Result<Vec<Finding>, Error> {
    let mut heads = Position::ZERO;
    for source in Source::ALL {
        heads = heads.with(source, journal::head(client, source).await?);
    }
    let (view, position) = caught_up(client, &heads).await?;
    let mut replay = Replay::new().await.map_err(Error::failed("cannot make a view to compare"))?;
    for source in Source::ALL {
        let end = position.get(source);
        if !fold(&mut replay, client, source, end).await? {
            let ahead = format!("the view has applied {source}:{end}, which its journal lacks");
            return Ok(vec![finding("checkpoints", 0, Some(ahead))]);
        }
    }
    let folded = replay.digest().await.map_err(Error::failed("cannot read the fold"))?;

    if view.parked > 0 {
        let parked = count(view.parked, "event");
        output::remark(format!("the view has parked {parked} as dead letters"));
    }
    let mut findings = tables(&view, &folded);
    if !position.includes(&heads, &Source::ALL) {
        let difference = format!(
            "the view is at {position} and does not reach {heads} within {} s",
            PATIENCE.as_secs()
        );
        findings.push(finding("checkpoints", 0, Some(difference)));
    }
    Ok(findings)
}

/// What the view holds, once it includes `heads` or has had its time.
async fn caught_up(
    client: &Client,
    heads: &Position,
) -> Result<(GetViewDigestResponse, Position), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = call(&GetViewDigestRequest {}, |request| {
            let mut views = client.view();
            async move { views.get_view_digest(request).await }
        })
        .await?;
        let position: Position =
            view.position.parse().map_err(Error::failed("the view names no position"))?;
        if position.includes(heads, &Source::ALL) || Instant::now() > deadline {
            return Ok((view, position));
        }
        sleep(POLL).await;
    }
}

/// Folds a source's events up to `end`, if there are as many.
async fn fold(
    replay: &mut Replay,
    client: &Client,
    source: Source,
    end: Sequence,
) -> Result<bool, Error> {
    let mut journal = Journal::open(client, source).await?;
    let mut from = Checkpoint::ZERO;
    let mut deliveries = Vec::new();
    while from.sequence.0 + (deliveries.len() as u64) < end.0 {
        let Some(row) = journal.next().await? else { return Ok(false) };
        deliveries.push(delivery(row));
        if deliveries.len() == MAX_BATCH {
            from = apply(replay, source, from, &mut deliveries).await?;
        }
    }
    apply(replay, source, from, &mut deliveries).await?;
    Ok(true)
}

fn delivery(row: Row) -> Delivery {
    Delivery {
        sequence: row.sequence,
        hash: row.hash,
        bytes: row.event.clone(),
        event: Event::decode(row.event).map(Box::new),
    }
}

/// Folds a batch and returns the checkpoint after it.
async fn apply(
    replay: &mut Replay,
    source: Source,
    from: Checkpoint,
    deliveries: &mut Vec<Delivery>,
) -> Result<Checkpoint, Error> {
    let Some(last) = deliveries.last() else { return Ok(from) };
    let to = Checkpoint { sequence: last.sequence, hash: last.hash };
    let batch = Batch { source, from, to, deliveries: std::mem::take(deliveries) };
    let applied = replay.apply(batch).await;
    applied.map_err(Error::failed(format!(
        "cannot fold the events of {source} after {}",
        from.sequence
    )))?;
    Ok(to)
}

fn tables(view: &GetViewDigestResponse, folded: &Digest) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &folded.tables {
        let theirs = view.tables.iter().find(|theirs| theirs.table == table.table);
        let difference: Option<Difference> = match theirs {
            None => Some("the view does not report it".to_owned()),
            Some(theirs) if theirs.rows != table.rows => {
                Some(format!("the view has {}, the fold {}", theirs.rows, table.rows))
            }
            Some(theirs) if theirs.hash != table.hash => {
                Some("as many rows in the view as in the fold, and other content".to_owned())
            }
            Some(_) => None,
        };
        findings.push(finding(table.table, table.rows, difference));
    }
    findings
}

fn finding(name: &str, compared: u64, difference: Option<Difference>) -> Finding {
    Finding { invariant: "I5", what: "view", name: name.to_owned(), compared, difference }
}

#[cfg(test)]
mod tests {
    use agora_proto::admin::v1::TableDigest as Theirs;
    use agora_query::store::TableDigest;

    use super::*;

    fn compared(rows: u64, hash: [u8; 32]) -> Option<Difference> {
        let table = TableDigest { table: "post", rows: 3, hash: [1; 32] };
        let folded = Digest { position: Position::ZERO, tables: vec![table] };
        let theirs = Theirs { table: "post".into(), rows, hash: hash.to_vec() };
        let view = GetViewDigestResponse { tables: vec![theirs], ..Default::default() };
        tables(&view, &folded).remove(0).difference
    }

    #[test]
    fn tables_are_equal_or_it_is_told_how_not() {
        assert_eq!(compared(3, [1; 32]), None);
        assert_eq!(compared(2, [1; 32]).unwrap(), "the view has 2, the fold 3");
        assert!(compared(3, [2; 32]).unwrap().contains("other content"));
    }
}
