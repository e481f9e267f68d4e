//! Files that are written all at once.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

/// Writes a file: a crash, or whoever reads it meanwhile, leaves or finds a whole one or none.
pub fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
