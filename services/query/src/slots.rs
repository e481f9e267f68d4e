//! Where views are: two files beside each other, of which a third, small one says which is
//! served. A rebuild fills the other one, and switching over is one rename.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The two files of a view.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    first: PathBuf,
}

impl Slots {
    /// The slots of the view that is configured to be at `first`.
    pub(crate) fn new(first: &Path) -> Self {
        Self { first: first.to_owned() }
    }

    fn second(&self) -> PathBuf {
        self.first.with_extension("2.db")
    }

    fn pointer(&self) -> PathBuf {
        self.first.with_extension("serving")
    }

    /// Where the dead letters are: a file that survives every view.
    pub(crate) fn letters(&self) -> PathBuf {
        self.first.with_extension("dead-letters.db")
    }

    /// Where a copy for another replica is made.
    pub(crate) fn copied(&self) -> PathBuf {
        self.first.with_extension("copied")
    }

    /// Where a copy from another replica arrives.
    pub(crate) fn fetched(&self) -> PathBuf {
        self.first.with_extension("fetched")
    }

    /// The file that is served.
    pub(crate) fn serving(&self) -> io::Result<PathBuf> {
        match fs::read_to_string(self.pointer()) {
            Ok(name) if name.trim() == "2" => Ok(self.second()),
            Ok(_) => Ok(self.first.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.first.clone()),
            Err(error) => Err(error),
        }
    }

    /// The file that is not served.
    pub(crate) fn other(&self) -> io::Result<PathBuf> {
        let serving = self.serving()?;
        Ok(if serving == self.first { self.second() } else { self.first.clone() })
    }

    /// Has the other file be served, from the next start on at the latest.
    pub(crate) fn switch(&self) -> io::Result<()> {
        let number = if self.other()? == self.first { "1\n" } else { "2\n" };
        let new = self.pointer().with_added_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(number.as_bytes())?;
        file.sync_all()?;
        rename(&new, &self.pointer())
    }
}

/// Has a file that is on the disk take another's place, so that it lasts.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Deletes a view's file and what SQLite keeps beside it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(PathBuf::from(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_slots_take_turns() {
        let folder = TempDir::new().unwrap();
        let first = folder.path().join("view.db");
        let slots = Slots::new(&first);
        let second = folder.path().join("view.2.db");
        assert_eq!(
            (slots.serving().unwrap(), slots.other().unwrap()),
            (first.clone(), second.clone())
        );
        slots.switch().unwrap();
        assert_eq!((slots.serving().unwrap(), slots.other().unwrap()), (second, first.clone()));
        slots.switch().unwrap();
        assert_eq!(slots.serving().unwrap(), first);
    }
}
