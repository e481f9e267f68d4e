//! `agora man`: manual pages.

use std::{fs, path::PathBuf};

use clap_mangen::{Man, generate_to};

use crate::{error::Error, output};

const EXAMPLES: &str = "\
Examples:
  agora man | man -l -
  agora man --to ~/.local/share/man/man1        a page for every command, such as agora-feed(1)";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Write the page of every command into this folder, and print nothing
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Of the whole command line.
pub fn run(arguments: &Arguments, command: clap::Command) -> Result<(), Error> {
    if let Some(folder) = &arguments.to {
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        return generate_to(command, folder).map_err(Error::file("write the pages into", folder));
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(Error::failed("cannot make the page"))?;
    output::print(String::from_utf8_lossy(&page))
}
