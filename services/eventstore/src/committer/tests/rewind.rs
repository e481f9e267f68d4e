//! One transaction over all events of a source.

use super::super::{hand_over, rewind::Anew};
use super::*;
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
    hand_over(&committer.anew, Anew::Rewind(Source::Comment, to)).await?
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
    assert_eq!(committer.watermarks.reached().get(Source::Comment), Sequence(5));
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

/// The numbers of its own events that are parked.
async fn own_parked(committer: &Committer<Table>) -> Vec<u64> {
    let mut connection = committer.readers.acquire().await.unwrap();
    let letters = Sqlite::letters(&mut connection, Source::Post, Sequence::ZERO, 100).await;
    letters.unwrap().into_iter().map(|letter| letter.sequence.0).collect()
}

async fn kept(committer: &Committer<Table>) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM title");
    count.fetch_one(&committer.readers).await.unwrap()
}

#[tokio::test]
async fn a_fork_parks_its_own_events_and_a_retry_appends_them_anew() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let submit = |hash: u8, title: &str| {
        let id = RequestId::from(uuid::Uuid::from_bytes([hash; 16]));
        let request = Some(RequestMark { id, hash: [hash; 32] });
        committer.submit(origin(request), (PostId::new(), title.to_owned()))
    };
    submit(1, "one").await.unwrap();
    let mut connection = committer.readers.acquire().await.unwrap();
    let keep = Sqlite::head(&mut connection).await.unwrap();
    // The stream's history.
    submit(2, "two").await.unwrap();
    submit(3, "three").await.unwrap();
    let theirs = Sqlite::rows(&mut connection, Sequence(2), 10).await.unwrap();
    committer.begin_gathering(Source::Post).await.unwrap();
    committer.remake(Some(keep)).await.unwrap();
    assert_eq!(titles(committer).await, ["one"]);
    assert_eq!((own_parked(committer).await, kept(committer).await), (vec![2, 3], 1));
    let drop = |sequence| Repair::Drop {
        source: Source::Post,
        sequence: Sequence(sequence),
        actor: "olga".into(),
        reason: "the stream has it".into(),
    };
    committer.repair(drop(2)).await.unwrap();
    committer.repair(drop(3)).await.unwrap();

    // The journal's own.
    submit(4, "four").await.unwrap();
    let answered = submit(5, "five").await.unwrap();
    submit(6, "six").await.unwrap();
    committer.begin_gathering(Source::Post).await.unwrap();
    committer.gather(Source::Post, theirs).await.unwrap();
    committer.remake(Some(keep)).await.unwrap();
    assert_eq!(titles(committer).await, ["one", "two", "three"]);
    assert_eq!((own_parked(committer).await, kept(committer).await), (vec![2, 3, 4], 3));

    // A client that asks again has its request carried out; a retry must not do so twice.
    submit(6, "six").await.unwrap();
    for sequence in [2, 3, 4] {
        let (source, actor) = (Source::Post, "olga".to_owned());
        let retry = Repair::Retry { source, sequence: Sequence(sequence), actor };
        assert_eq!(committer.repair(retry).await.unwrap().applied, 1);
    }
    assert_eq!(titles(committer).await, ["one", "two", "three", "six", "four", "five"]);
    assert_eq!((own_parked(committer).await, kept(committer).await), (vec![], 6));
    assert_eq!(submit(5, "five").await.unwrap().reply, answered.reply);
    assert_eq!(titles(committer).await.len(), 6);
}

#[tokio::test]
async fn a_database_that_is_made_again_is_the_same() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    for title in ["one", "two", "three"] {
        committer.submit(origin(None), (PostId::new(), title.to_owned())).await.unwrap();
    }
    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    sqlx::query("DELETE FROM title WHERE title = 'two'").execute(&mut other).await.unwrap();
    committer.begin_gathering(Source::Post).await.unwrap();
    committer.remake(None).await.unwrap();
    assert_eq!(titles(committer).await, ["one", "two", "three"]);
    assert_eq!(kept(committer).await, 3);
}
