//! Which installation a command asks.

use std::fs;

use crate::{
    program::{agora, refused, run, stderr, stdout, text},
    up::Up,
};

/// A command of every kind that asks a server.
const COMMANDS: [&[&str]; 12] = [
    &["post", "list"],
    &["comment", "get", "0198c0de-0000-7000-8000-000000000000"],
    &["thread", "show", "page"],
    &["feed"],
    &["queue"],
    &["decide", "approve", "0198c0de-0000-7000-8000-000000000000"],
    &["policy", "show"],
    &["events", "tail", "--all", "--limit", "1"],
    &["smoke", "--timeout", "1s"],
    &["admin", "stream", "status"],
    &["admin", "dead-letters", "list"],
    &["--health"],
];

#[test]
fn a_folder_on_which_nothing_runs_is_told_and_nobody_else_is_asked() {
    let up = Up::start();
    up.agora(&["post", "create", "--title", "Hello", "--external-key", "page"]);
    let empty = tempfile::tempdir().unwrap();
    // What was left by one that was killed; its port is another installation's by now.
    let killed = tempfile::tempdir().unwrap();
    for file in ["run.json", "key.pem"] {
        fs::copy(up.folder.path().join(file), killed.path().join(file)).unwrap();
    }
    fs::write(killed.path().join("lock"), "").unwrap();
    for folder in [&empty, &killed] {
        let folder = text(folder.path());
        let told = format!("no `agora up` runs on the data folder {folder}");
        let what_to_do = format!("`agora up --data {folder}`");
        for command in COMMANDS {
            let line = refused(&mut agora(&[command, &["--data", folder]].concat()));
            assert!(line.contains(&told) && line.contains(&what_to_do), "{command:?}: {line}");
            let line = refused(agora(command).env("AGORA_DATA", folder));
            assert!(line.contains(&told), "{command:?}: {line}");
        }
        let output = run(&["verify", "--data", folder]);
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains(&told), "{}", stderr(&output));
    }
}

#[test]
fn the_installation_of_the_named_folder_is_asked() {
    let (one, other) = (Up::start(), Up::start());
    one.agora(&["post", "create", "--title", "One"]);
    other.agora(&["post", "create", "--title", "Other"]);
    let printed = one.agora(&["post", "list"]);
    assert!(printed.contains("One") && !printed.contains("Other"), "{printed}");

    let health = |up: &Up| run(&["--health", "--data", text(up.folder.path())]);
    let output = health(&one);
    let address = one.run()["grpc"].as_str().unwrap().to_owned();
    assert!(output.status.success());
    assert_eq!(stdout(&output), format!("{address}: SERVING\n"));

    // Its streams are not those of another one.
    let server = other.run()["grpc"].as_str().unwrap().to_owned();
    let (data, server) = (["--data", text(one.folder.path())], ["--server", &server]);
    let tail = ["events", "tail", "--all", "--limit", "1"];
    let line = refused(&mut agora(&[&tail[..], &data, &server].concat()));
    assert!(line.contains("--nats-url"), "{line}");
    let output = run(&[&["verify"][..], &data, &server].concat());
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    // Nor does its key make tokens for another one.
    let line = refused(&mut agora(&[&["feed", "--user", "ann"][..], &data, &server].concat()));
    assert!(line.contains("cannot make a token"), "{line}");
}
