//! Commands are carried out, or refused.

use super::{super::MAX_QUEUED_BYTES, *};

#[tokio::test]
async fn commands_are_committed_in_the_order_of_their_arrival() {
    let fixture = fixture(Gate::Open).await;
    let submitted = (0..600).map(|number| {
        fixture.committer.submit(origin(None), (PostId::new(), format!("{number:03}")))
    });
    for (number, outcome) in futures::future::join_all(submitted).await.into_iter().enumerate() {
        let Committed { reply, position } = outcome.unwrap();
        assert_eq!(reply, format!("{number:03}"));
        assert_eq!(position.get(Source::Post), Sequence(number as u64 + 1));
    }
    let expected: Vec<String> = (0..600).map(|number| format!("{number:03}")).collect();
    assert_eq!(titles(&fixture.committer).await, expected);
}

#[tokio::test]
async fn what_breaks_a_rule_panics_or_cannot_be_written_fails_alone() {
    let fixture = fixture(Gate::Open).await;
    let taken = PostId::new();
    let commands = [
        (taken, "one"),
        (taken, "taken in the same batch"),
        (PostId::new(), "panic"),
        (PostId::new(), "poison"),
        (PostId::new(), "another type"),
        (PostId::new(), "two"),
    ];
    let submitted =
        commands.map(|(id, title)| fixture.committer.submit(origin(None), (id, title.to_owned())));
    let outcomes = futures::future::join_all(submitted).await;
    let kept: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(kept, [true, false, false, false, false, true]);
    assert_eq!(titles(&fixture.committer).await, ["one", "two"]);
}

#[tokio::test]
async fn a_retry_has_one_effect_and_the_same_answer() {
    let fixture = fixture(Gate::Open).await;
    let submit = |hash, title: &str| {
        fixture.committer.submit(origin(Some(mark(hash))), (PostId::new(), title.to_owned()))
    };
    // In one batch, and in one of its own.
    let (first, second) = tokio::join!(submit(1, "one"), submit(1, "two"));
    let third = submit(1, "three").await.unwrap();
    assert_eq!(first.unwrap(), third);
    assert_eq!(second.unwrap(), third);
    assert_eq!(third.reply, "one");
    assert!(matches!(submit(2, "one").await, Err(Error::RequestIdReused)));
    assert_eq!(titles(&fixture.committer).await, ["one"]);
}

#[tokio::test]
async fn writes_wait_until_the_journal_is_compared() {
    let fixture = fixture(Gate::Comparing("a stream".into())).await;
    let mut late = origin(None);
    late.deadline = Instant::now() + Duration::from_millis(50);
    let refused = fixture.committer.submit(late, (PostId::new(), "late".into())).await;
    assert!(matches!(refused, Err(Error::NotCompared(_))), "{refused:?}");

    let waiting = fixture.committer.submit(origin(None), (PostId::new(), "waits".into()));
    let (outcome, ()) = tokio::join!(waiting, async { fixture.committer.set_gate(Gate::Open) });
    assert_eq!(outcome.unwrap().reply, "waits");

    fixture.committer.set_gate(Gate::Halted("a fork".into()));
    let refused = fixture.committer.submit(origin(None), (PostId::new(), "no".into())).await;
    assert!(matches!(refused, Err(Error::Halted(_))), "{refused:?}");
    assert_eq!(titles(&fixture.committer).await, ["waits"]);
}

#[tokio::test]
async fn writes_go_on_after_a_journal_that_could_not_be_read() {
    let fixture = fixture(Gate::Open).await;
    let path = fixture.folder.path().join("test.db");
    let mut other = database::options(&path).connect().await.unwrap();
    sqlx::query("ALTER TABLE journal_head RENAME TO away").execute(&mut other).await.unwrap();
    let refused = fixture.committer.submit(origin(None), (PostId::new(), "lost".into())).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");

    sqlx::query("ALTER TABLE away RENAME TO journal_head").execute(&mut other).await.unwrap();
    fixture.committer.submit(origin(None), (PostId::new(), "kept".into())).await.unwrap();
    assert_eq!(titles(&fixture.committer).await, ["kept"]);
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let fixture = fixture(Gate::Comparing("nothing".into())).await;
    let mut large = origin(None);
    large.size = MAX_QUEUED_BYTES;
    let committer = fixture.committer.clone();
    let waiting =
        tokio::spawn(async move { committer.submit(large, (PostId::new(), "large".into())).await });
    tokio::task::yield_now().await;
    let refused = fixture.committer.submit(origin(None), (PostId::new(), "more".into())).await;
    assert!(matches!(refused, Err(Error::Overloaded(_))), "{refused:?}");
    waiting.abort();
}
