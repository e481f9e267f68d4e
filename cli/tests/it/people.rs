//! What the program says to people.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{
    program::{agora, run, stderr, stdout, text},
    up::{Up, wait_until},
};

/// A program on a terminal of its own (`script` is a part of util-linux), killed when it is
/// dropped.
struct OnTerminal {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl OnTerminal {
    fn start(command: &str) -> Self {
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--command", command, "/dev/null"]);
        script.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut terminal = child.stdout.take().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let read = shown.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4_096];
            while let Ok(length @ 1..) = terminal.read(&mut piece) {
                read.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Self { child, shown }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().replace("\r\n", "\n")
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn up_on_terminal(data: &str, more: &str) -> OnTerminal {
    let program = env!("CARGO_BIN_EXE_agora");
    let any = "127.0.0.1:0";
    // With `exec` the program ends when its terminal does.
    OnTerminal::start(&format!(
        "exec '{program}' up --listen {any} --http-listen {any} --nats-port 0 --data '{data}' {more}"
    ))
}

#[test]
fn up_is_quiet_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    let up = up_on_terminal(data, "");
    wait_until("the greeting", || up.shown().contains("stop with Ctrl-C"));
    let ready = || run(&["--health", "--data", data]).status.success();
    wait_until("a ready system", ready);
    let created = run(&["post", "create", "--title", "Hello", "--data", data]);
    assert!(created.status.success(), "{}", stderr(&created));
    let smoke = run(&["smoke", "--data", data]);
    assert!(smoke.status.success(), "{}", stderr(&smoke));
    let shown = up.shown();
    assert!(shown.starts_with("agora "), "{shown}");
    assert!(shown.trim_end().ends_with("stop with Ctrl-C"), "{shown}");
    end(folder.path());
    drop(up);

    let up = up_on_terminal(data, "--log info");
    wait_until("its logs", || up.shown().contains("NATS is connected"));
    end(folder.path());
}

/// Ends what runs on a data folder, also where a closed terminal ends nothing, as under nohup.
fn end(folder: &Path) {
    let run = folder.join("run.json");
    wait_until("what listens where", || run.is_file());
    let text = fs::read_to_string(&run).unwrap();
    let id = serde_json::from_str::<Value>(&text).unwrap()["process_id"].to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    wait_until("its end", || !run.exists());
}

#[test]
fn an_import_says_what_is_held_and_where_on_the_same_site() {
    let up = Up::start();
    let file = up.folder.path().join("page.csv");
    let rows = "1,Ann,,fine,0\n2,Bob,,please subscribe to my channel,1\n";
    fs::write(&file, format!("COMMENT_ID,AUTHOR,DATE,CONTENT,CLASS\n{rows}")).unwrap();
    let data = text(up.folder.path());
    let output = run(&["import", "youtube-csv", text(&file), "--site", "music", "--data", data]);
    let (printed, remarks) = (stdout(&output), stderr(&output));
    let held = format!("1 comment held for a moderator: agora queue --site music --data {data}\n");
    assert!(printed.contains(&held), "{printed}{remarks}");
    assert!(remarks.contains("try next: agora feed --site music"), "{remarks}");

    // The short way, and no page token to copy.
    let shown = up.agora(&["thread", "youtube-csv:page", "--site", "music"]);
    assert!(shown.contains("Ann ·") && shown.contains("fine"), "{shown}");
    up.agora(&["comment", "create", "youtube-csv:page", "--body", "also fine", "--site", "music"]);
    let first =
        ["thread", "youtube-csv:page", "--page-size", "1", "--order", "oldest", "--site", "music"];
    wait_until("both comments", || up.agora(&first).contains("… more"));
    let shown = up.agora(&first);
    let all = format!(
        "all of it: agora thread youtube-csv:page --order oldest --all --site music --data {data}\n"
    );
    assert!(shown.ends_with(&all), "{shown}");
}

#[test]
fn who_decides_the_same_is_told_so() {
    let up = Up::start();
    up.agora(&["post", "create", "--title", "Hello", "--external-key", "page"]);
    let create = ["comment", "create", "page", "--body", "subscribe to my channel", "--json"];
    let comment: Value = serde_json::from_str(&up.agora(&create)).unwrap();
    let comment = comment["commentId"].as_str().unwrap();
    wait_until("the case", || up.agora(&["queue"]).contains(comment));
    let approved = up.agora(&["decide", "approve", comment, "--user", "ann"]);
    assert!(approved.starts_with("approved revision 1"), "{approved}");
    let again = up.agora(&["decide", "approve", comment, "--user", "bob"]);
    assert!(again.starts_with("nothing to do: ann has approved revision 1"), "{again}");
    assert!(again.contains(comment), "{again}");
    // Another decision is refused, in words.
    let data = text(up.folder.path());
    let reject = ["decide", "reject", comment, "--reason", "no", "--user", "bob", "--data", data];
    let output = run(&reject);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("ann decided before: approved (ALREADY_DECIDED)"), "{said}");
    assert!(said.contains("--replaces"), "{said}");
}

#[test]
fn an_import_without_a_kind_is_told_the_kinds() {
    let output = run(&["import", "comments.csv"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("one of: youtube-csv"), "{said}");
    assert!(said.contains("agora import youtube-csv comments.csv"), "{said}");
}

#[test]
fn a_site_that_is_no_slug_is_told_the_rule() {
    let output = run(&["feed", "--site", "My Blog"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("--site") && said.contains("1 to 40 of a-z, 0-9 and -"), "{said}");
}

#[test]
fn shells_and_manuals_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains("dead-letters"), "{shell}: {script}");
    }
    let page = stdout(&run(&["man"]));
    assert!(page.contains(".TH agora 1") && page.contains("agora\\-feed(1)"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man1");
    let output = run(&["man", "--to", text(&man)]);
    assert!(output.status.success(), "{}", stderr(&output));
    for name in ["agora.1", "agora-thread.1", "agora-admin-stream-status.1"] {
        assert!(man.join(name).is_file(), "{name}");
    }
}

#[test]
fn colours_are_as_one_wishes() {
    let up = Up::start();
    up.agora(&["post", "create", "--title", "Hello"]);
    let data = text(up.folder.path());
    let list = |color: &str| {
        let mut command = agora(&["post", "list", "--data", data, "--color", color]);
        stdout(&command.env_remove("NO_COLOR").output().unwrap())
    };
    assert!(list("always").contains('\u{1b}'));
    assert!(!list("never").contains('\u{1b}'));
    assert!(!list("auto").contains('\u{1b}'));
}
