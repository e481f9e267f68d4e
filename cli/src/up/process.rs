//! Processes of this machine.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::error::Error;

/// How long a NATS server may take to stop before it is killed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Asks a process to stop.
pub fn terminate(id: u32) {
    signal(id, Signal::TERM);
}

fn signal(id: u32, signal: Signal) {
    if let Some(pid) = pid(id) {
        // It may have ended by itself just now.
        kill_process(pid, signal).ok();
    }
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn is_running(id: u32) -> bool {
    pid(id).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// Stops the NATS server that an `agora up` left behind when it was killed: the process
/// with this id, if it still runs with this configuration file.
pub async fn stop_stale(id: u32, config: &Path) -> Result<(), Error> {
    if !is_running(id) || !runs_with(id, config) {
        return Ok(());
    }
    tracing::warn!(process_id = id, "stopping the nats-server left behind by a killed agora up");
    terminate(id);
    if has_ended(id).await {
        return Ok(());
    }
    signal(id, Signal::KILL);
    if has_ended(id).await {
        return Ok(());
    }
    Err(Error::plain(format!(
        "an earlier nats-server of this data folder does not end: stop process {id}"
    )))
}

async fn has_ended(id: u32) -> bool {
    let deadline = Instant::now() + STOP_TIMEOUT;
    while is_running(id) {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

/// Whether a process was started with a file as an argument. Ids are given again: one
/// that is recorded may be another process by now.
fn runs_with(id: u32, file: &Path) -> bool {
    let Some(file) = file.to_str() else { return false };
    if let Ok(line) = fs::read(format!("/proc/{id}/cmdline")) {
        return line.split(|byte| *byte == 0).any(|argument| argument == file.as_bytes());
    }
    // Where there is no /proc.
    let listed =
        std::process::Command::new("ps").args(["-o", "command=", "-p", &id.to_string()]).output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_of_another_program_is_left_alone() {
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        stop_stale(other.id(), Path::new("/nowhere/nats.conf")).await.unwrap();
        assert!(is_running(other.id()));
        // Its arguments show a moment after it was started.
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !runs_with(other.id(), Path::new("60")) {
            assert!(Instant::now() < deadline, "its arguments are not seen");
            tokio::time::sleep(POLL).await;
        }
        terminate(other.id());
        other.wait().unwrap();
        assert!(!is_running(other.id()));
    }
}
