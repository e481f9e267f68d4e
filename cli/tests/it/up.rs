use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::program::{agora, refused, stdout, text};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running `agora up`, killed with SIGKILL when it is dropped.
pub struct Up {
    child: Child,
    pub folder: tempfile::TempDir,
}

impl Up {
    pub fn start() -> Self {
        Self::start_with(&["--nats-port", "0"])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Self::spawn(folder.path(), arguments);
        let mut up = Self { child, folder };
        up.ready();
        up
    }

    fn spawn(folder: &Path, arguments: &[&str]) -> Child {
        let any = "127.0.0.1:0";
        agora(&["up", "--listen", any, "--http-listen", any])
            .args(arguments)
            .args(["--data", text(folder)])
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("up.log")).unwrap())
            .spawn()
            .unwrap()
    }

    fn ready(&mut self) {
        let folder = self.folder.path();
        wait_until("run.json", || {
            let log = || std::fs::read_to_string(folder.join("up.log"));
            assert_eq!(self.child.try_wait().unwrap(), None, "{}", log().unwrap());
            folder.join("run.json").is_file()
        });
    }

    pub fn run(&self) -> Value {
        let text = std::fs::read(self.folder.path().join("run.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn nats_process(&self) -> u32 {
        self.run()["nats_process_id"].as_u64().unwrap().try_into().unwrap()
    }

    /// What a command prints that must succeed.
    pub fn agora(&self, arguments: &[&str]) -> String {
        let output = agora(arguments).args(["--data", text(self.folder.path())]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        stdout(&output)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn is_running(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat"));
    state.is_ok_and(|state| !state.contains(") Z "))
}

fn signal(name: &str, process: u32) {
    Command::new("kill").args([name, &process.to_string()]).status().unwrap();
}

#[test]
fn posts_are_created_and_read() {
    let up = Up::start();
    let created = up.agora(&["post", "create", "--title", "Hello", "--json"]);
    let created: Value = serde_json::from_str(&created).unwrap();
    assert_eq!(created["title"], "Hello");
    assert_eq!(created["position"], "post:1");
    let id = created["postId"].as_str().unwrap();
    assert!(up.agora(&["post", "get", id]).contains("Hello"));
    assert!(up.agora(&["post", "close", id]).contains("[closed]"));
    assert_eq!(up.agora(&["post", "list", "--json"]).lines().count(), 1);
    let events = up.agora(&["events", "tail", "--source", "post", "--all", "--limit", "2"]);
    assert!(events.contains("post_created") && events.contains("post_closed"), "{events}");

    let line = refused(&mut agora(&["post", "get", "nothing", "--data", text(up.folder.path())]));
    assert!(line.contains("NOT_FOUND"), "{line}");
}

#[test]
fn a_second_one_on_the_same_nats_server_leaves_the_first_alone() {
    let first = Up::start();
    first.agora(&["post", "create", "--title", "first"]);
    let nats = first.run()["nats"].as_str().unwrap().to_owned();
    let second = Up::start_with(&["--nats-url", &nats]);
    let data = text(second.folder.path());
    wait_until("it to refuse", || {
        let arguments = ["post", "create", "--title", "second", "--data", data];
        let line = refused(&mut agora(&arguments));
        line.contains("belongs to another installation, agora-")
    });
    assert_eq!(second.agora(&["post", "list", "--json"]), "");

    first.agora(&["post", "create", "--title", "more"]);
    let status = first.agora(&["admin", "stream", "status", "post", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["messages"], 2, "{status}");
    let name = std::fs::read_to_string(first.folder.path().join("installation")).unwrap();
    assert_eq!(status["installation"], name.trim_end(), "{status}");
    first.agora(&["verify"]);
}

#[test]
fn the_nats_server_ends_with_agora() {
    let mut up = Up::start();
    let nats = up.nats_process();
    assert!(is_running(nats));
    signal("-TERM", up.child.id());
    assert!(up.child.wait().unwrap().success());
    assert!(!is_running(nats));
    assert!(!up.folder.path().join("run.json").exists());
}

#[test]
#[cfg(target_os = "linux")]
fn the_nats_server_ends_when_agora_is_killed_and_a_new_one_starts() {
    let mut up = Up::start();
    let nats = up.nats_process();
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    wait_until("the end of nats-server", || !is_running(nats));
    std::fs::remove_file(up.folder.path().join("run.json")).unwrap();
    up.child = Up::spawn(up.folder.path(), &["--nats-port", "0"]);
    up.ready();
    assert_ne!(up.nats_process(), nats);
}

#[test]
fn a_nats_server_that_is_killed_is_started_again() {
    let up = Up::start();
    let nats = up.nats_process();
    signal("-KILL", nats);
    wait_until("another nats-server", || up.nats_process() != nats);
    up.agora(&["post", "create", "--title", "after"]);
    let events = up.agora(&["events", "tail", "--source", "post", "--all", "--limit", "1"]);
    assert!(events.contains("after"), "{events}");
}

#[test]
fn what_is_in_the_way_is_told_in_one_line() {
    let up = Up::start();
    let line = refused(&mut agora(&["up", "--data", text(up.folder.path())]));
    assert!(line.contains("another `agora up` runs"), "{line}");

    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let line = refused(&mut agora(&["up", "--data", text(folder.path()), "--nats-port", &port]));
    assert!(line.contains("--nats-port"), "{line}");

    let address = format!("127.0.0.1:{port}");
    let arguments = ["up", "--data", text(folder.path()), "--nats-port", "0", "--listen"];
    let mut command = agora(&[&arguments[..], &[&address]].concat());
    let line = refused(command.env("AGORA_TELEMETRY__LOG", "off"));
    assert!(line.contains(&address), "{line}");
    let line = refused(agora(&arguments[..5]).env("AGORA_NATS_SERVER", "/nowhere/nats-server"));
    assert!(line.contains("there is no /nowhere/nats-server"), "{line}");

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let line = refused(&mut agora(&["up", "--data", text(&file)]));
    assert!(line.contains("cannot use the data folder"), "{line}");
}

#[test]
fn a_nats_server_that_is_too_old_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("nats-server");
    std::fs::write(&old, "#!/bin/sh\necho 'nats-server: v2.9.10'\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = folder.path().join("data");
    let line = refused(agora(&["up", "--data", text(&data)]).env("AGORA_NATS_SERVER", &old));
    assert!(line.contains("2.9.10, too old"), "{line}");
}
