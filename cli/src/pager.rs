//! A pager for what is longer than the terminal.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    process::{Command, Stdio},
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{error::Error, output};

/// How a shell says that there is no such program.
const NOT_FOUND: i32 = 127;

/// Prints a text: through `AGORA_PAGER`, else `PAGER`, else less, where standard output is a
/// terminal with fewer lines. An empty one, or cat, means none.
pub fn print(text: &str) -> Result<(), Error> {
    let Some(pager) = pager().filter(|_| is_long(text)) else { return output::print(text) };
    // Ctrl-C is for the pager; this program ends with it.
    let interrupts = signal(SignalKind::interrupt());
    let shown = show(&pager, text);
    drop(interrupts);
    match shown {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => output::print(text),
    }
}

fn pager() -> Option<String> {
    let named = env::var("AGORA_PAGER").or_else(|_| env::var("PAGER"));
    let pager = named.unwrap_or_else(|_| "less".to_owned());
    (!pager.is_empty() && pager != "cat").then_some(pager)
}

fn is_long(text: &str) -> bool {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return false;
    }
    let size = terminal_size::terminal_size_of(stdout);
    size.is_some_and(|(_, height)| text.lines().count() >= usize::from(height.0))
}

/// Whether the pager was there.
fn show(pager: &str, text: &str) -> io::Result<bool> {
    let mut command = Command::new("sh");
    command.args(["-c", pager]).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        // Ends by itself below the last line, keeps colours, leaves the text on the screen.
        command.env("LESS", "FRX");
    }
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // Whoever leaves has seen enough.
        input.write_all(text.as_bytes()).ok();
    }
    Ok(child.wait()?.code() != Some(NOT_FOUND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pager_that_is_not_there_is_done_without() {
        assert!(!show("/nowhere/pager 2>/dev/null", "text").unwrap());
        assert!(show("cat >/dev/null", "text").unwrap());
    }
}
