use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// The program, without what the environment of the test says.
pub fn agora(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agora"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let is_ours = name.to_string_lossy().starts_with("AGORA_");
        if is_ours && name != "AGORA_NATS_SERVER" {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    agora(arguments).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs the program, which must fail with one line, and returns that.
pub fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stderr(&output);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    assert!(line.starts_with("error: "), "{text}");
    assert_eq!(lines.next(), None, "{text}");
    line
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
