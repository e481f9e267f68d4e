//! A stream's tail is imported.

use super::*;

#[tokio::test]
async fn a_tail_is_imported_only_if_it_chains() {
    let source = fixture(Gate::Open).await;
    for (title, request) in [("one", Some(mark(3))), ("two", None), ("three", None)] {
        let command = (PostId::new(), title.to_owned());
        source.committer.submit(origin(request), command).await.unwrap();
    }
    let mut connection = source.committer.inner.readers.acquire().await.unwrap();
    let rows = Sqlite::rows(&mut connection, Sequence(1), 10).await.unwrap();

    let copy = fixture(Gate::Comparing("import".into())).await;
    assert!(copy.committer.import(rows[1..].to_vec()).await.is_err());
    copy.committer.import(rows.clone()).await.unwrap();
    assert_eq!(titles(&copy.committer).await, titles(&source.committer).await);
    // What was imported answers retries as the original does.
    copy.committer.set_gate(Gate::Open);
    let command = (PostId::new(), "retried".to_owned());
    let again = copy.committer.submit(origin(Some(mark(3))), command).await.unwrap();
    assert_eq!(again.reply, "one");
}
