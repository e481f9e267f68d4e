use std::{
    fs,
    net::TcpListener,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::agora;

const DEADLINE: Duration = Duration::from_secs(30);

/// As the first process of a container a program is not ended by a signal that it does not catch.
#[test]
fn a_command_that_waits_catches_sigterm() {
    // It takes connections and says nothing.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let mut command = agora(&["feed", "--server", &url]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + DEADLINE;
    while !catches_sigterm(&child) {
        assert_eq!(child.try_wait().unwrap(), None, "it should wait for the server");
        assert!(Instant::now() < end, "SIGTERM is not caught");
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

fn catches_sigterm(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    caught & (1 << (Signal::TERM.as_raw() - 1)) != 0
}
