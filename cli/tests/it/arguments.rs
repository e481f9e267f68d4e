use std::process::Stdio;

use crate::program::{agora, refused, run, stderr, stdout};

const COMMANDS: [&[&str]; 26] = [
    &[],
    &["up"],
    &["serve"],
    &["token"],
    &["post"],
    &["post", "create"],
    &["post", "update"],
    &["comment"],
    &["comment", "create"],
    &["comment", "list"],
    &["thread"],
    &["thread", "show"],
    &["feed"],
    &["queue"],
    &["queue", "show"],
    &["decide", "approve"],
    &["decide", "reject"],
    &["policy", "set"],
    &["events", "tail"],
    &["import"],
    &["import", "youtube-csv"],
    &["smoke"],
    &["verify"],
    &["completions"],
    &["man"],
    &["client"],
];

#[test]
fn every_command_has_help() {
    for command in COMMANDS {
        let output = run(&[command, &["--help"]].concat());
        assert!(output.status.success(), "{command:?}");
        assert!(stdout(&output).contains("Usage: agora"), "{command:?}");
    }
}

#[test]
fn every_group_of_commands_shows_examples() {
    let groups = COMMANDS.iter().filter(|command| command.len() < 2 && **command != ["client"]);
    for command in groups {
        let help = stdout(&run(&[*command, &["--help"]].concat()));
        assert!(help.contains("Examples:"), "{command:?}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [
        &["nonsense"][..],
        &["feed", "--page-size", "many"],
        &["post", "create"],
        &["post", "update", "some-post"],
        &["decide", "reject", "x"],
        &["up", "--nats-url", "nats://x", "--nats-port", "1"],
        &["events", "tail", "--all", "--new"],
        &["token", "--user", "ann"],
        &["token", "--role", "author"],
        &["feed", "--role", "king"],
        &["serve", "everything"],
        &["import", "youtube-csv"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_server_that_is_not_there_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let line =
        refused(agora(&["feed", "--server", "127.0.0.1:1"]).env("AGORA_DATA", folder.path()));
    assert!(line.contains("cannot reach http://127.0.0.1:1"), "{line}");
    let line = refused(agora(&["events", "tail"]).env("AGORA_DATA", folder.path()));
    assert!(line.contains("no `agora up` runs"), "{line}");
}

#[test]
fn a_file_that_is_no_export_is_told_before_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.csv");
    std::fs::write(&file, "a,b\n1,2\n").unwrap();
    let line = refused(&mut agora(&["import", "youtube-csv", file.to_str().unwrap()]));
    assert!(line.contains("x.csv") && line.contains("COMMENT_ID"), "{line}");
    let line = refused(&mut agora(&["import", "youtube-csv", "/nowhere.csv"]));
    assert!(line.contains("cannot read /nowhere.csv"), "{line}");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = agora(&["up", "--print-config"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_configuration_is_printed_from_all_its_layers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agora.toml");
    std::fs::write(&file, "[server]\nmax_in_flight = 7\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let arguments =
        ["up", "--print-config", "--config", file.to_str().unwrap(), "--listen", "127.0.0.1:3"];
    let mut command = agora(&arguments);
    command.env("AGORA_SERVER__LISTEN", "127.0.0.1:2").env("AGORA_NATS__PORT", "9");
    let output = command.output().unwrap();
    let printed = stdout(&output);
    for setting in ["listen = \"127.0.0.1:3\"", "max_in_flight = 7", "port = 9"] {
        assert!(printed.contains(setting), "{setting} in {printed}");
    }
    for (service, port) in
        [("post", 7401), ("comment", 7402), ("moderation", 7403), ("query", 7404)]
    {
        let printed = stdout(&run(&["serve", service, "--print-config"]));
        assert!(printed.contains(&format!("listen = \"127.0.0.1:{port}\"")), "{printed}");
    }
}

#[test]
fn an_unknown_setting_is_refused() {
    let line = refused(agora(&["up", "--print-config"]).env("AGORA_SERVER__COLOUR", "red"));
    assert!(line.contains("server.colour"), "{line}");
}
