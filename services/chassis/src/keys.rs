//! The keys of a service, all derived from one secret.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use rand::TryRng as _;
use secrecy::{ExposeSecret as _, SecretString};

/// Keys for what leaves the service and comes back: page tokens are sealed with one,
/// requests are hashed with another.
#[derive(Clone)]
pub struct Keys {
    pages: [u8; 32],
    requests: [u8; 32],
}

/// Why the secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is too short to be a secret.
    #[error("the secret must have at least {} characters", Keys::MIN_SECRET)]
    TooShort,
    /// Its file cannot be read or made.
    #[error("cannot read or make the secret's file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Keys {
    /// How many characters a secret has at least.
    pub const MIN_SECRET: usize = 32;

    /// Derives the keys from a secret. Replicas of one service share theirs.
    ///
    /// # Errors
    /// [`KeysError::TooShort`].
    pub fn derive(secret: &SecretString) -> Result<Self, KeysError> {
        let secret = secret.expose_secret().trim().as_bytes();
        if secret.len() < Self::MIN_SECRET {
            return Err(KeysError::TooShort);
        }
        Ok(Self {
            pages: blake3::derive_key("agora 2026 page tokens", secret),
            requests: blake3::derive_key("agora 2026 request hashes", secret),
        })
    }

    /// Reads the secret from a file, which is made with a random one if it is absent.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn from_file(path: &Path) -> Result<Self, KeysError> {
        let failed = |source| KeysError::File { path: path.to_owned(), source };
        if !path.try_exists().map_err(failed)? {
            create_secret(path).map_err(failed)?;
        }
        Self::derive(&fs::read_to_string(path).map_err(failed)?.into())
    }

    /// The key that seals page tokens.
    pub const fn pages(&self) -> &[u8; 32] {
        &self.pages
    }

    /// The keyed hash of a request: of the RPC's name and the encoded message.
    pub fn request_hash(&self, rpc: &str, message: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.requests);
        hasher.update(rpc.as_bytes());
        hasher.update(&[0]);
        hasher.update(message);
        *hasher.finalize().as_bytes()
    }
}

/// Writes a new secret beside its place and links it there, unless another process was
/// quicker: a crash leaves a whole one or none, and all who share the folder have the
/// same.
fn create_secret(path: &Path) -> io::Result<()> {
    let mut secret = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut secret).map_err(io::Error::other)?;
    let text = blake3::Hash::from_bytes(secret).to_hex();

    let own_name = format!("{}-{}", std::process::id(), &text[..8]);
    let temporary = path.with_extension(own_name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_share_a_folder_have_the_same_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let keys = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Keys::from_file(&path).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().pages).collect::<Vec<_>>()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
