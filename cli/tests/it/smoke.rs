//! What `agora smoke` finds.

use serde_json::Value;

use crate::{
    program::{agora, refused, stderr, stdout, text},
    up::Up,
};

/// How many steps a check has that finds nothing.
const STEPS: usize = 8;

fn data(up: &Up) -> &str {
    text(up.folder.path())
}

/// The steps that were printed, and those that failed.
fn steps(output: &std::process::Output) -> (usize, Vec<String>) {
    let printed = stdout(output);
    let steps = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps: Vec<Value> = steps.collect();
    let failed = steps.iter().filter(|step| !step["failed"].is_null());
    (steps.len(), failed.map(|step| step["step"].as_str().unwrap().to_owned()).collect())
}

fn posts(up: &Up, site: &str) -> usize {
    up.agora(&["feed", "--site", site, "--json"]).lines().count()
}

#[test]
fn a_running_system_is_good_and_left_as_it_was() {
    let up = Up::start();
    let printed = up.agora(&["smoke"]);
    assert!(printed.contains("read the thread"), "{printed}");
    assert!(printed.contains("all is as it must be"), "{printed}");
    assert_eq!(posts(&up, "smoke"), 0);
    // What is held is approved.
    let policy = up.folder.path().join("policy.toml");
    std::fs::write(&policy, "mode = \"hold_all\"\n").unwrap();
    up.agora(&["policy", "set", text(&policy), "--site", "smoke"]);
    up.agora(&["smoke"]);
    up.agora(&["verify"]);
}

#[test]
fn every_service_has_an_address_of_its_own() {
    let up = Up::start();
    let address = up.run()["grpc"].as_str().unwrap().to_owned();
    let key = up.folder.path().join("key.pem");
    let services = ["POST", "COMMENT", "MODERATION", "QUERY"];
    let named = || {
        let mut command = agora(&["smoke", "--json", "--server", "127.0.0.1:1"]);
        command.args(["--timeout", "1s", "--key", text(&key)]);
        for service in services {
            command.env(format!("AGORA_{service}_SERVER"), &address);
        }
        command
    };
    let output = named().output().unwrap();
    assert_eq!(steps(&output), (STEPS, vec![]), "{}", stderr(&output));
    for (service, step) in services.into_iter().zip([
        "create a post",
        "create a comment",
        "judge the comment",
        "read the thread",
    ]) {
        let mut command = named();
        command.env(format!("AGORA_{service}_SERVER"), "127.0.0.1:1");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(steps(&output).1.first().map(String::as_str), Some(step));
        let said = stderr(&output);
        let expected = format!("error: cannot {step}: the server does not answer: Connection");
        assert!(said.starts_with(&expected), "{said}");
        // What was made is deleted all the same.
        assert_eq!(posts(&up, "smoke"), 0, "{service}");
    }
}

#[test]
fn what_is_not_as_it_must_be_is_told_in_one_line() {
    let up = Up::start();
    let policy = up.folder.path().join("policy.toml");
    std::fs::write(&policy, "mode = \"approve_unless_held\"\nbanned_words = [\"smoke\"]\n")
        .unwrap();
    up.agora(&["policy", "set", text(&policy), "--site", "smoke"]);
    let line = refused(&mut agora(&["smoke", "--data", data(&up)]));
    assert!(line.contains("cannot judge the comment: the site's policy rejects it"), "{line}");
    assert_eq!(posts(&up, "smoke"), 0);

    let server = up.run()["grpc"].as_str().unwrap().to_owned();
    let output = agora(&["smoke", "--server", &server]).env("HOME", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.starts_with("error: cannot create a post: "), "{said}");
    assert!(said.contains("TOKEN_MISSING") && said.contains("give --token"), "{said}");
}

#[test]
fn a_token_is_read_from_a_file() {
    let up = Up::start();
    let server = up.run()["grpc"].as_str().unwrap().to_owned();
    let roles = ["token", "--user", "checker", "--role", "moderator", "--site", "smoke"];
    let file = up.folder.path().join("token");
    std::fs::write(&file, up.agora(&roles)).unwrap();
    let smoke = |file: &str| {
        let mut command = agora(&["smoke", "--server", &server, "--token-file", file]);
        command.env("HOME", "/nowhere");
        command
    };
    let output = smoke(text(&file)).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let line = refused(&mut smoke("/nowhere/token"));
    assert!(line.contains("cannot read the token /nowhere/token"), "{line}");
}
