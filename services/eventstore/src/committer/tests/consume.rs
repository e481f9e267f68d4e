//! Events of another source are applied, or parked.

use super::*;

#[tokio::test]
async fn a_poisoned_event_is_parked_and_what_follows_it_waits() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let unexpected = Kind::CommentDeleted(proto::CommentDeleted { revision: 1 });
    let first = batch(
        Checkpoint::ZERO,
        &[
            (1, body("a")),
            (2, body("poison")),
            (2, body("waits")),
            (3, unexpected),
            (1, body("b")),
            (3, body("waits too")),
        ],
    );
    let end = first.to;
    committer.apply(first.clone()).await.unwrap();
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), end);
    assert_eq!(titles(committer).await, ["a", "b"]);

    let second = batch(end, &[(2, body("still waits")), (4, body("c"))]);
    committer.apply(second).await.unwrap();
    assert_eq!(titles(committer).await, ["a", "b", "c"]);
    let parked: Vec<(i64, String)> =
        sqlx::query_as("SELECT sequence, error FROM dead_letter ORDER BY sequence")
            .fetch_all(&committer.inner.readers)
            .await
            .unwrap();
    let sequences: Vec<i64> = parked.iter().map(|(sequence, _)| *sequence).collect();
    let with_error: Vec<i64> =
        parked.iter().filter(|(_, error)| !error.is_empty()).map(|(n, _)| *n).collect();
    assert_eq!((sequences, with_error), (vec![2, 3, 4, 6, 7], vec![2, 4]));

    // The same once more: the checkpoint has moved, and nothing happens.
    assert!(committer.apply(first).await.is_err());
    assert_eq!(titles(committer).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_consumer_stops_before_it_parks_too_much() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let comments = vec![(1, body("unknown")); MAX_PARKED as usize + 1];
    let mut all = batch(Checkpoint::ZERO, &comments);
    let aggregate = all.deliveries[0].aggregate();
    all.deliveries[0].event = Err(DecodeError::UnknownType { aggregate });
    let (most, last) = all.split_at(MAX_PARKED as usize);
    let end = most.to;
    committer.apply(most).await.unwrap();
    let refused = committer.apply(last).await.unwrap_err();
    assert!(chassis::error::chain(&refused).contains("more than 10000 events"), "{refused:?}");
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), end);
}
