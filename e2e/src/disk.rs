use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Result;

/// How much it holds: what a run writes, several times over.
const SIZE: &str = "size=96m";
/// What takes the room that is left.
const FILLER: &str = "filler";

/// A small file system in memory that can be filled, mounted until this is dropped.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one at a folder that is made for it; none if this user may not mount.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn mount(folder: &Path) -> Result<Option<Self>> {
        fs::create_dir_all(folder)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "agora-faults"]).arg(folder);
        let mounted = mount.stdin(Stdio::null()).stderr(Stdio::null()).status();
        let is_mounted = mounted.is_ok_and(|status| status.success());
        Ok(is_mounted.then(|| Self { folder: folder.to_owned() }))
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// If the filler cannot be made.
    pub fn fill(&self) -> Result {
        let mut filler = File::create(self.folder.join(FILLER))?;
        // The smallest piece last: not a page is to be left.
        for size in [1 << 20, 1 << 12, 1] {
            let piece = vec![0; size];
            while filler.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// If the filler cannot be removed.
    pub fn make_room(&self) -> Result {
        Ok(fs::remove_file(self.folder.join(FILLER))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever was killed a moment ago may still have files open: lazily.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.folder.display());
        }
    }
}
