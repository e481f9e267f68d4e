//! A database is made again from journal and stream.

use super::*;

/// The numbers of its own events that are parked.
async fn own_parked(committer: &Committer<Table>) -> Vec<u64> {
    let mut connection = committer.inner.readers.acquire().await.unwrap();
    let letters = Sqlite::letters(&mut connection, Source::Post, Sequence::ZERO, 100).await;
    letters.unwrap().into_iter().map(|letter| letter.sequence.0).collect()
}

async fn kept(committer: &Committer<Table>) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM title");
    count.fetch_one(&committer.inner.readers).await.unwrap()
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
    let mut connection = committer.inner.readers.acquire().await.unwrap();
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
