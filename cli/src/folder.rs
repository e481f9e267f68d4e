//! The data folder of `agora up`, and what a running one says of itself there.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A data folder, which may not exist yet.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether it was named by `--data` or `AGORA_DATA`.
    is_named: bool,
}

/// `run.json`: what listens where, while `agora up` runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Of `agora up`.
    pub version: String,
    pub process_id: u32,
    /// gRPC and gRPC-Web, as `host:port`.
    pub grpc: String,
    /// `/livez`, `/readyz` and `/metrics`, as `host:port`.
    pub http: String,
    /// NATS, as a URL.
    pub nats: String,
    /// Of the embedded NATS server; absent if another one is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_process_id: Option<u32>,
    /// The folder itself.
    pub data: PathBuf,
    /// The private key that signs access tokens.
    pub key: PathBuf,
    /// What tokens must name as their issuer.
    pub issuer: String,
    /// What tokens must name as their audience.
    pub audience: String,
}

impl Folder {
    /// The folder that was given, or the user's own: `$XDG_DATA_HOME/agora`, else
    /// `~/.local/share/agora`.
    pub fn find(given: Option<&Path>) -> Result<Self, Error> {
        if let Some(folder) = given {
            return Ok(Self { path: absolute(folder), is_named: true });
        }
        let from = |variable: &str| {
            env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute())
        };
        let folder = from("XDG_DATA_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".local/share")))
            .ok_or_else(|| {
                Error::plain("there is no home folder: name a data folder with --data")
            })?;
        Ok(Self { path: folder.join("agora"), is_named: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was named: then it alone is meant, and no default takes its place.
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The file that `agora up` holds a lock on as long as it runs.
    pub fn lock_file(&self) -> PathBuf {
        self.file("lock")
    }

    /// What the `agora up` that runs on it says of itself; none if none runs.
    pub fn running(&self) -> Option<Run> {
        self.run().filter(|_| self.is_locked())
    }

    /// Whether an `agora up` runs: `run.json` is left behind by one that was killed, and
    /// another program may listen on its port by now; the lock ends with the process.
    fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.lock_file()) else { return false };
        // Whoever starts at this moment tries again: see `data::lock`.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// The error of a command that needs the `agora up` of this folder; `or` is what else
    /// can be done.
    pub fn not_running(&self, or: &str) -> Error {
        let command = match self.is_named {
            true => format!("agora up --data {}", shell_word(&self.path.to_string_lossy())),
            false => "agora up".to_owned(),
        };
        Error::plain(format!(
            "no `agora up` runs on the data folder {}: start it with `{command}`, or {or}",
            self.path.display()
        ))
    }

    /// What `agora up` said of itself when it was started. A file that is left from one that
    /// was killed says it too.
    pub fn run(&self) -> Option<Run> {
        let text = fs::read(self.file(RUN)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes `run.json`, all at once: who waits for it never reads half of it.
    pub fn write_run(&self, run: &Run) -> Result<(), Error> {
        let path = self.file(RUN);
        let temporary = self.file("run.json.new");
        let text = serde_json::to_string_pretty(run).expect("a Run is JSON");
        fs::write(&temporary, text + "\n")
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(Error::file("write", &path))
    }

    /// Removes `run.json`, if it is there.
    pub fn remove_run(&self) {
        fs::remove_file(self.file(RUN)).ok();
    }
}

const RUN: &str = "run.json";

/// A path as a shell takes it.
pub fn shell_word(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte);
    match path.bytes().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(folder.path())).unwrap();
        assert_eq!(folder.run(), None);
        let run = Run {
            version: "0.1.0".into(),
            process_id: 7,
            grpc: "127.0.0.1:7400".into(),
            http: "127.0.0.1:7480".into(),
            nats: "nats://127.0.0.1:7422".into(),
            nats_process_id: None,
            data: folder.path().into(),
            key: folder.file("key.pem"),
            issuer: "agora".into(),
            audience: "agora".into(),
        };
        std::fs::create_dir_all(folder.path()).unwrap();
        folder.write_run(&run).unwrap();
        assert_eq!(folder.run(), Some(run));
        folder.remove_run();
        assert_eq!(folder.run(), None);
    }

    #[test]
    fn who_is_told_what_to_start_can_paste_it() {
        let error = Folder::find(Some("/a b".as_ref())).unwrap().not_running("wait").to_string();
        assert!(error.contains("no `agora up` runs on the data folder /a b"), "{error}");
        assert!(error.contains("`agora up --data '/a b'`, or wait"), "{error}");
    }
}
