//! A source is folded again from its owner.

use super::{
    super::{Upkeep, gather::Anew, hand_over},
    *,
};
use crate::journal::Row;

fn rows(batch: &Batch) -> Vec<Row> {
    let rows = batch.deliveries.iter().map(|delivery| Row {
        sequence: delivery.sequence,
        hash: delivery.hash,
        event: delivery.bytes.clone(),
    });
    rows.collect()
}

async fn rewind(committer: &Committer<Table>, to: Checkpoint) -> Result<(), Error> {
    hand_over(&committer.inner.upkeep, Upkeep::Anew, Anew::Rewind(Source::Comment, to)).await?
}

#[tokio::test]
async fn a_rewind_forgets_what_was_applied_and_parks_what_cannot_be() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let first = batch(Checkpoint::ZERO, &[(1, body("a")), (2, body("poison")), (1, body("b"))]);
    committer.apply(first.clone()).await.unwrap();
    assert_eq!(parked(committer).await, [2]);

    let unexpected = Kind::CommentDeleted(proto::CommentDeleted { revision: 1 });
    let other = batch(
        Checkpoint::ZERO,
        &[(3, body("c")), (4, body("poison")), (4, body("waits")), (5, unexpected), (3, body("d"))],
    );
    committer.begin_gathering(Source::Comment).await.unwrap();
    committer.gather(Source::Comment, rows(&other)).await.unwrap();
    committer.set_gate(Gate::Comparing("a stream".into()));
    let refused = rewind(committer, other.to).await;
    assert!(matches!(refused, Err(Error::NotCompared(_))), "{refused:?}");
    committer.set_gate(Gate::Open);
    rewind(committer, other.to).await.unwrap();

    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), other.to);
    // What was caused before stands in the journal for ever.
    assert_eq!(titles(committer).await, ["a", "b", "c", "d"]);
    assert_eq!(parked(committer).await, [2, 3, 4]);
    assert_eq!(committer.inner.watermarks.reached().get(Source::Comment), Sequence(5));
    // Its consumer goes on from there, behind what is parked.
    let more = batch(other.to, &[(4, body("waits too")), (3, body("e"))]);
    committer.apply(more).await.unwrap();
    assert_eq!(titles(committer).await, ["a", "b", "c", "d", "e"]);
    assert_eq!(parked(committer).await, [2, 3, 4, 6]);
    // The other history does not go on.
    assert!(committer.apply(batch(first.to, &[(9, body("no"))])).await.is_err());
}

#[tokio::test]
async fn a_rewind_that_is_not_whole_changes_nothing() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let first = batch(Checkpoint::ZERO, &[(1, body("a")), (2, body("poison"))]);
    committer.apply(first.clone()).await.unwrap();
    let other = batch(Checkpoint::ZERO, &[(3, body("b")), (3, body("c"))]);
    let mut gathered = rows(&other);
    gathered.pop();
    committer.begin_gathering(Source::Comment).await.unwrap();
    committer.gather(Source::Comment, gathered).await.unwrap();
    assert!(rewind(committer, other.to).await.is_err());
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), first.to);
    assert_eq!(titles(committer).await, ["a"]);
    committer.apply(batch(first.to, &[(2, body("waits")), (1, body("d"))])).await.unwrap();
    assert_eq!(titles(committer).await, ["a", "d"]);
    assert_eq!(parked(committer).await, [2, 3]);
}
