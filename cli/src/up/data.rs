//! The data folder: made, locked against another `agora up`, and given its keys.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bus_schema::Installation;
use chassis::auth::token;
use uuid::Uuid;

use crate::{error::Error, file, folder::Folder};

/// Signs access tokens; whoever reads it can be anybody.
pub const PRIVATE_KEY: &str = "key.pem";
/// What services verify tokens with.
pub const PUBLIC_KEY: &str = "key.pub.pem";

/// What the installation is called, if its configuration does not say so.
const INSTALLATION: &str = "installation";
/// How long the lock is tried for: a command that looks whether somebody holds it, holds it
/// for a moment itself.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// The lock of a data folder, held while `agora up` runs.
pub struct Lock {
    _file: File,
}

/// Makes the folder if it is absent, and takes its lock.
pub fn lock(folder: &Folder) -> Result<Lock, Error> {
    let path = folder.path();
    let unusable =
        || format!("cannot use the data folder {}: name another with --data", path.display());
    make_folder(path).map_err(Error::failed(unusable()))?;
    let file = File::create(folder.lock_file()).map_err(Error::failed(unusable()))?;
    match take(&file) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => {
            let whose = folder.run().map(|run| format!(" (process {})", run.process_id));
            Err(Error::plain(format!(
                "another `agora up` runs on the data folder {}{}: stop that one, or name \
                 another folder with --data",
                path.display(),
                whose.unwrap_or_default()
            )))
        }
        Err(TryLockError::Error(source)) => Err(Error::failed(unusable())(source)),
    }
}

fn take(file: &File) -> Result<(), TryLockError> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(LOCK_POLL);
            }
            taken => return taken,
        }
    }
}

/// Makes the key pair that signs and verifies tokens, unless it is there.
pub fn make_keys(folder: &Folder) -> Result<(), Error> {
    let (private, public) = (folder.file(PRIVATE_KEY), folder.file(PUBLIC_KEY));
    if private.exists() {
        if public.exists() {
            return Ok(());
        }
        return Err(Error::plain(format!(
            "{} exists and {} does not: restore it, or remove the first to have both created again",
            private.display(),
            public.display()
        )));
    }
    let pair = token::generate_key().map_err(Error::failed("cannot make a key"))?;
    // The private key comes last: where it is, both are.
    file::write(&public, &pair.public_pem, 0o644).map_err(Error::file("write", &public))?;
    file::write(&private, &pair.private_pem, 0o600).map_err(Error::file("write", &private))
}

/// The name of the installation: made once, so that its streams are known as its own whatever
/// NATS server they are on.
pub fn installation(folder: &Folder) -> Result<String, Error> {
    let path = folder.file(INSTALLATION);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let name = text.trim().parse::<Installation>();
            let what = format!("{} holds no name of an installation", path.display());
            Ok(name.map_err(Error::failed(what))?.to_string())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The last digits are random.
            let digits = Uuid::now_v7().simple().to_string();
            let name = format!("agora-{}", &digits[20..]);
            file::write(&path, &format!("{name}\n"), 0o644).map_err(Error::file("write", &path))?;
            Ok(name)
        }
        Err(error) => Err(Error::file("read", &path)(error)),
    }
}

/// What people wrote and the key that signs are nobody else's business.
fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(&directory.path().join("data"))).unwrap();
        (directory, folder)
    }

    #[test]
    fn a_folder_belongs_to_one_at_a_time() {
        let (_directory, folder) = folder();
        let first = lock(&folder).unwrap();
        let refused = lock(&folder).err().unwrap().to_string();
        assert!(refused.starts_with("another `agora up` runs"), "{refused}");
        drop(first);
        lock(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let (directory, _) = folder();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let folder = Folder::find(Some(&file.join("data"))).unwrap();
        let refused = lock(&folder).err().unwrap().to_string();
        assert!(refused.starts_with("cannot use the data folder"), "{refused}");
    }

    #[test]
    fn the_installation_is_named_once() {
        let (_directory, folder) = folder();
        let _lock = lock(&folder).unwrap();
        let name = installation(&folder).unwrap();
        assert!(name.starts_with("agora-") && name.parse::<Installation>().is_ok(), "{name}");
        assert_eq!(installation(&folder).unwrap(), name);

        let (_directory, another) = self::folder();
        let _lock = lock(&another).unwrap();
        assert_ne!(installation(&another).unwrap(), name);
        fs::write(another.file(INSTALLATION), "two words\n").unwrap();
        let refused = installation(&another).unwrap_err().to_string();
        assert!(refused.ends_with("holds no name of an installation"), "{refused}");
    }

    #[test]
    fn keys_are_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt as _;

        let (_directory, folder) = folder();
        let _lock = lock(&folder).unwrap();
        make_keys(&folder).unwrap();
        let private = folder.file(PRIVATE_KEY);
        let key = fs::read_to_string(&private).unwrap();
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
        make_keys(&folder).unwrap();
        assert_eq!(fs::read_to_string(&private).unwrap(), key);
        fs::remove_file(folder.file(PUBLIC_KEY)).unwrap();
        assert!(make_keys(&folder).is_err());
    }
}
