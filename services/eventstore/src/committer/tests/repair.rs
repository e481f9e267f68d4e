//! Dead letters are tried again, or given up.

use super::*;

fn retry(sequence: u64) -> Repair {
    let (source, sequence) = (Source::Comment, Sequence(sequence));
    Repair::Retry { source, sequence, actor: "olga".into() }
}

fn stopped_at(repaired: &Repaired) -> Option<u64> {
    repaired.stopped_at.as_ref().map(|letter| letter.sequence.0)
}

/// Has the table take every title.
async fn heal(fixture: &Fixture) {
    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    let heal = "DROP TABLE title; \
                CREATE TABLE title (post_id BLOB PRIMARY KEY, title TEXT NOT NULL) STRICT";
    sqlx::raw_sql(heal).execute(&mut other).await.unwrap();
}

#[tokio::test]
async fn a_dead_letter_that_is_tried_again_takes_what_waits_with_it() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let first = batch(
        Checkpoint::ZERO,
        &[(1, body("poison")), (1, body("a")), (2, body("poison")), (1, body("poison"))],
    );
    let end = first.to;
    committer.apply(first).await.unwrap();
    assert_eq!(parked(committer).await, [1, 2, 3, 4]);

    let repaired = committer.repair(retry(1)).await.unwrap();
    assert_eq!((repaired.applied, stopped_at(&repaired)), (0, Some(1)));
    let refused = committer.repair(retry(2)).await;
    assert!(matches!(refused, Err(Refused::Waits { behind: Sequence(1), .. })), "{refused:?}");
    let refused = committer.repair(retry(5)).await;
    assert!(matches!(refused, Err(Refused::Absent { .. })), "{refused:?}");

    heal(&fixture).await;
    let repaired = committer.repair(retry(1)).await.unwrap();
    assert_eq!((repaired.applied, stopped_at(&repaired)), (3, None));
    assert_eq!(parked(committer).await, [3]);
    // Nothing waits behind what was applied; the other aggregate does.
    committer.apply(batch(end, &[(1, body("b")), (2, body("c"))])).await.unwrap();
    assert_eq!(titles(committer).await, ["poison", "a", "poison", "b"]);
    assert_eq!(parked(committer).await, [3, 6]);

    let (source, sequence) = (Source::Comment, Sequence(3));
    let (actor, reason) = ("olga".to_owned(), "a test".to_owned());
    let dropped = committer.repair(Repair::Drop { source, sequence, actor, reason }).await.unwrap();
    assert_eq!((dropped.applied, stopped_at(&dropped)), (1, None));
    assert_eq!(titles(committer).await, ["poison", "a", "poison", "b", "c"]);
    assert!(parked(committer).await.is_empty());

    let mut connection = committer.inner.readers.acquire().await.unwrap();
    let actions = Sqlite::actions(&mut connection, 100).await.unwrap();
    let kept: Vec<(u64, Done, bool)> = actions
        .iter()
        .rev()
        .map(|action| (action.sequence.0, action.done, action.error.is_empty()))
        .collect();
    let expected = [
        (1, Done::Retried, false),
        (1, Done::Retried, true),
        (2, Done::Retried, true),
        (4, Done::Retried, true),
        (3, Done::Dropped, true),
        (6, Done::Retried, true),
    ];
    assert_eq!(kept, expected);
    let dropped = actions.iter().find(|action| action.done == Done::Dropped).unwrap();
    assert_eq!((dropped.actor.as_str(), dropped.reason.as_str()), ("olga", "a test"));
    assert_eq!(Event::decode(dropped.event.clone()).unwrap().sequence, Sequence(3));
}

#[tokio::test]
async fn another_replica_takes_letters_out_while_this_one_consumes() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let first = batch(Checkpoint::ZERO, &[(1, body("poison"))]);
    let end = first.to;
    committer.apply(first).await.unwrap();
    // As another replica's transaction does.
    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    assert!(Sqlite::unpark(&mut other, Source::Comment, Sequence(1)).await.unwrap());
    committer.apply(batch(end, &[(1, body("a"))])).await.unwrap();
    assert_eq!(titles(committer).await, ["a"]);
}

#[tokio::test]
async fn what_another_program_has_parked_is_tried_again_by_itself() {
    let fixture = fixture(Gate::Open).await;
    let committer = &fixture.committer;
    let mut first = batch(Checkpoint::ZERO, &[(1, body("a")), (1, body("b")), (2, body("poison"))]);
    // An older program did not know its type.
    let aggregate = first.deliveries[0].aggregate();
    first.deliveries[0].event = Err(DecodeError::UnknownType { aggregate });
    let end = first.to;
    committer.apply(first).await.unwrap();
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), end);
    assert_eq!(parked(committer).await, [1, 2, 3]);

    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    let older = sqlx::query("UPDATE dead_letter SET program = '0.0.1'");
    older.execute(&mut other).await.unwrap();
    assert_eq!(committer.checkpoint(Source::Comment).await.unwrap(), end);
    assert_eq!(titles(committer).await, ["a", "b"]);
    assert_eq!(parked(committer).await, [3]);
    // Each program tries once.
    committer.checkpoint(Source::Comment).await.unwrap();
    let tries: i64 = sqlx::query_scalar("SELECT count(*) FROM dead_letter_log WHERE sequence = 3")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(tries, 1);
}
