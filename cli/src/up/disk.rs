//! The disk of a data folder: how much room there is, and what is said where there is none.

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::{error::Error, folder::Folder};

/// With less room than this nothing is started: the databases and the NATS server write
/// before they serve.
pub const MIN_ROOM: u64 = 4 * 1024 * 1024;

/// The room on the disk that holds a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    folder: PathBuf,
    free: u64,
}

impl Room {
    /// Asks the system; none if it does not tell. A folder that is not there yet will be on
    /// the disk of the one that holds it.
    pub fn of(folder: &Path) -> Option<Self> {
        let there = folder.ancestors().find(|folder| folder.exists())?;
        let disk = statvfs(there).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Some(Self { folder: folder.to_owned(), free })
    }

    pub fn is_enough(&self) -> bool {
        self.free >= MIN_ROOM
    }

    /// `the disk that holds /data is full: 0 bytes are free, and at least 4194304 are needed`
    pub fn told(&self) -> String {
        format!(
            "the disk that holds {} is full: {} bytes are free, and at least {MIN_ROOM} are needed",
            self.folder.display(),
            self.free
        )
    }
}

/// Where the NATS server keeps the streams; it may be a disk of its own.
pub fn store(folder: &Folder) -> PathBuf {
    folder.file("nats")
}

/// The disk of a data folder that has no room, if one has none.
fn full(folder: &Folder) -> Option<Room> {
    let folders = [folder.path().to_owned(), store(folder)];
    folders.iter().filter_map(|folder| Room::of(folder)).find(|room| !room.is_enough())
}

/// Refuses to start without room: what comes later would fail with an error of its own, and
/// leave files half written.
pub fn check(folder: &Folder) -> Result<(), Error> {
    match full(folder) {
        Some(room) => Err(Error::plain(format!(
            "{}: make room, or name another data folder with --data",
            room.told()
        ))),
        None => Ok(()),
    }
}

/// Why something has failed, if the disk is full: else the error tells itself.
pub fn explain(folder: &Folder, error: Error) -> Error {
    match full(folder) {
        Some(room) => Error::failed(room.told())(error),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_on_the_disk_of_the_one_that_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("a/b");
        let room = Room::of(&inside).unwrap();
        assert_eq!(room.folder, inside);
        assert!(room.free > 0);
    }

    #[test]
    fn a_full_disk_is_named_with_what_is_free() {
        let room = Room { folder: "/data".into(), free: MIN_ROOM - 1 };
        assert!(!room.is_enough());
        assert_eq!(
            room.told(),
            "the disk that holds /data is full: 4194303 bytes are free, and at least 4194304 are \
             needed"
        );
        assert!(Room { free: MIN_ROOM, ..room }.is_enough());
    }
}
