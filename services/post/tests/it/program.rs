use std::{
    fs,
    net::TcpListener,
    process::{Command, Output},
};

use tempfile::TempDir;

/// Runs the program in an empty folder, with a setting in its environment.
fn run(folder: &TempDir, arguments: &[&str], (name, value): (&str, &str)) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agora-post"))
        .args(arguments)
        .current_dir(folder.path())
        .env("AGORA_TELEMETRY__LOG", "error")
        .env(name, value)
        .output()
        .unwrap()
}

#[test]
fn the_configuration_in_force_is_printed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("post.toml");
    fs::write(&file, "[database]\nreaders = 7\n").unwrap();
    let arguments = ["--config", "post.toml", "--print-config"];
    let output = run(&folder, &arguments, ("AGORA_SERVER__LISTEN", "127.0.0.1:1234"));
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let expected = [
        "listen = \"127.0.0.1:1234\"",
        "http_listen = \"127.0.0.1:7481\"",
        "path = \"post.db\"",
        "readers = 7",
    ];
    for line in expected {
        assert!(printed.lines().any(|printed| printed == line), "no {line} in:\n{printed}");
    }
    assert!(!folder.path().join("post.db").exists());
}

#[test]
fn it_says_its_own_name() {
    let folder = TempDir::new().unwrap();
    let output = run(&folder, &["--version"], ("AGORA_SERVER__LISTEN", "127.0.0.1:1234"));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("agora-post "));
}

#[test]
fn what_keeps_it_from_starting_is_told_in_one_line() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("typo.toml"), "[server]\nlistne = \"127.0.0.1:0\"\n").unwrap();
    fs::write(folder.path().join("a_file"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let any_port = "[server]\nlisten = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\n";
    // Nobody listens on port 1.
    let nats = "[nats]\nurl = \"nats://127.0.0.1:1\"\n";
    fs::write(folder.path().join("nameless.toml"), format!("{any_port}{nats}")).unwrap();
    let settings = format!("{any_port}{nats}[installation]\nname = \"test\"\n");
    fs::write(folder.path().join("post.toml"), settings).unwrap();
    let table = [
        ("typo.toml", ("AGORA_NATS__URL", "nats://127.0.0.1:1"), "listne"),
        ("absent.toml", ("AGORA_NATS__URL", "nats://127.0.0.1:1"), "absent.toml"),
        ("nameless.toml", ("AGORA_SERVER__SECRET", ""), "AGORA_INSTALLATION__NAME) is not set"),
        ("post.toml", ("AGORA_INSTALLATION__NAME", "two words"), "1 to 128 characters"),
        ("post.toml", ("AGORA_SERVER__LISTEN", taken.as_str()), "server.listen"),
        ("post.toml", ("AGORA_SERVER__LISTEN", "0.0.0.0:0"), "auth.public_keys"),
        ("post.toml", ("AGORA_DATABASE__PATH", "a_file/post.db"), "a_file"),
        ("post.toml", ("AGORA_SERVER__SECRET", "short"), "32 characters"),
    ];
    for (file, setting, expected) in table {
        let output = run(&folder, &["--config", file], setting);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{setting:?}: {told}");
        assert!(told.starts_with("error: ") && told.contains(expected), "{setting:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{setting:?}: {told}");
    }
}
