//! The story that the README tells: everything in one process, real comments are
//! imported, one that was held is approved, and all is verified.

use std::{collections::HashSet, process::Output};

use e2e::{Result, bench::up::Up, files, program, wait_until};
use serde_json::Value;
use tokio::process::Command;

/// Runs `agora` against a running system.
async fn agora(up: &Up, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(program("agora")?)
        .args(arguments)
        .args(["--data", up.data().to_str().unwrap()])
        .output()
        .await?;
    Ok(output)
}

/// The same, for a call that must succeed: what it prints.
async fn ok(up: &Up, arguments: &[&str]) -> Result<String> {
    let output = agora(up, arguments).await?;
    let text = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "agora {arguments:?}: {text}{errors}");
    Ok(text)
}

fn json(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_moderate_read_verify() -> Result {
    let mut up = Up::start().await?;
    let files = files()?;
    let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let import: Vec<_> = ["import", "youtube-csv"].iter().chain(&files).copied().collect();
    let report = ok(&up, &import).await?;
    let mut rows = 0;
    for file in &files {
        rows += csv::Reader::from_path(file)?.into_records().count();
    }
    assert!(report.contains(&format!("{rows} comments imported")), "{report}");
    // Once more: nothing is doubled.
    ok(&up, &import).await?;
    ok(&up, &["verify"]).await?;

    let feed = json(&ok(&up, &["feed", "--json"]).await?);
    assert_eq!(feed.len(), files.len());
    let mut shown = 0;
    let mut all = HashSet::new();
    for post in &feed {
        let id = text(post, "postId");
        let count: u64 = text(post, "commentCount").parse()?;
        let lines = ok(&up, &["thread", "show", id, "--all", "--json"]).await?;
        let comments: Vec<_> =
            json(&lines).into_iter().filter(|line| line.get("commentId").is_some()).collect();
        assert_eq!(comments.len() as u64, count, "the count of {id} is not exact");
        shown += comments.len();
        all.extend(comments.iter().map(|comment| text(comment, "commentId").to_owned()));
    }
    assert_eq!(all.len(), shown, "a comment is shown twice");

    let queue = json(&ok(&up, &["queue", "--json", "--all"]).await?);
    assert!(!queue.is_empty(), "the default policy holds nothing");
    let held = text(&queue[0], "commentId").to_owned();
    assert!(!all.contains(&held));
    ok(&up, &["decide", "approve", &held]).await?;
    let post = text(&queue[0], "postId").to_owned();
    wait_until("the approved comment to be visible", || async {
        let lines = ok(&up, &["thread", "show", &post, "--all", "--json"]).await;
        lines.is_ok_and(|lines| lines.contains(&held))
    })
    .await?;

    let verified = ok(&up, &["verify"]).await?;
    assert!(!verified.is_empty());
    up.restart(true).await?;
    ok(&up, &["verify"]).await?;
    Ok(())
}
