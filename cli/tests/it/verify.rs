use std::process::Output;

use serde_json::Value;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::{
    program::{agora, stderr, stdout, text},
    up::Up,
};

/// A system with a post and two comments, one of which waits for a moderator.
fn system() -> Up {
    let up = Up::start();
    up.agora(&["post", "create", "--title", "Hello", "--external-key", "page"]);
    up.agora(&["comment", "create", "page", "--body", "fine"]);
    up.agora(&["comment", "create", "page", "--body", "subscribe to my channel"]);
    up
}

fn verify(up: &Up) -> Output {
    agora(&["verify", "--json", "--data", text(up.folder.path())]).output().unwrap()
}

/// The comparisons that found a difference: what, and of which.
fn differences(output: &Output) -> Vec<(String, String)> {
    let findings = stdout(output);
    let findings = findings.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let different = findings.filter(|finding| !finding["difference"].is_null());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    different.map(|finding| (word(&finding["what"]), word(&finding["name"]))).collect()
}

async fn change(up: &Up, database: &str, statement: &'static str) {
    let path = up.folder.path().join(database);
    let mut connection =
        SqliteConnection::connect(&format!("sqlite:{}", text(&path))).await.unwrap();
    let changed = connection.execute(statement).await.unwrap();
    assert_ne!(changed.rows_affected(), 0);
    connection.close().await.unwrap();
}

fn found(what: &str, name: &str) -> (String, String) {
    (what.to_owned(), name.to_owned())
}

#[test]
fn a_running_system_is_equal_everywhere() {
    let up = system();
    let output = verify(&up);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(differences(&output), []);
    let printed = up.agora(&["verify"]);
    assert!(printed.contains("I2  journal  comment"), "{printed}");
    assert!(printed.ends_with("all is equal\n"), "{printed}");
}

#[tokio::test]
async fn a_view_that_differs_is_found() {
    let up = system();
    assert_eq!(differences(&verify(&up)), []);
    change(&up, "view.db", "UPDATE comment SET author_name = 'somebody else'").await;
    let output = verify(&up);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(differences(&output), [found("view", "comment")]);
}

#[tokio::test]
async fn a_journal_that_was_changed_is_found() {
    let up = system();
    assert_eq!(differences(&verify(&up)), []);
    change(
        &up,
        "post.db",
        "UPDATE journal SET event = CAST(event || x'00' AS BLOB) WHERE sequence = 1",
    )
    .await;
    let output = verify(&up);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(differences(&output)[0], found("journal", "post"));
}

#[tokio::test]
async fn a_stream_that_holds_more_is_found() {
    let up = system();
    assert_eq!(differences(&verify(&up)), []);
    let nats = async_nats::connect(up.run()["nats"].as_str().unwrap()).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats);
    let published = jetstream.publish("agora.post.main.created", "extra".into()).await.unwrap();
    assert_eq!(published.await.unwrap().sequence, 2);
    let output = verify(&up);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(differences(&output)[0], found("stream", "post"));
}

#[test]
fn what_cannot_be_checked_is_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let output = agora(&["verify", "--data", text(folder.path())]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with("error: cannot check: no `agora up` runs"));
    // What would be printed if it could not be reached.
    let output =
        agora(&["verify", "--nats-url", "nats://ann:secret@127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("--nats-user"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("secret"), "{}", stderr(&output));
}
