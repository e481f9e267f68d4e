//! `agora completions`: what a shell completes commands with.

use clap_complete::{Shell, generate};

use crate::{error::Error, output};

const EXAMPLES: &str = "\
Examples:
  agora completions bash > ~/.local/share/bash-completion/completions/agora
  agora completions zsh > ~/.zfunc/_agora
  agora completions fish > ~/.config/fish/completions/agora.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Of the whole command line.
pub fn run(arguments: &Arguments, mut all: clap::Command) -> Result<(), Error> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut all, "agora", &mut script);
    output::print(String::from_utf8_lossy(&script))
}
