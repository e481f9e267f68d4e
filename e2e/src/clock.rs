use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::Result;

/// The library that has programs see another time, if `./dev` has found one.
const LIBRARY: &str = "AGORA_LIBFAKETIME";

/// The clock that a program sees; it can be made to jump while that runs.
pub struct Clock {
    library: String,
    file: PathBuf,
}

impl Clock {
    /// A clock that goes right, kept in this file; none if there is no library for it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn new(file: &Path) -> Result<Option<Self>> {
        let Ok(library) = env::var(LIBRARY) else { return Ok(None) };
        let clock = Self { library, file: file.to_owned() };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// Has it go wrong by so many seconds from now on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set(&self, seconds: i64) -> Result {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}"))?;
        Ok(fs::rename(new, &self.file)?)
    }

    /// What a program's environment must say to see it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            // How often the file is read, in seconds.
            ("FAKETIME_CACHE_DURATION", "1".into()),
            // Only what people call the time jumps: time-outs are measured by a clock that
            // never does.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
            // A program that is killed would leave it behind.
            ("FAKETIME_DISABLE_SHM", "1".into()),
        ]
    }
}
