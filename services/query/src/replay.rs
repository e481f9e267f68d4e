//! Folding given events into a view of their own, to compare it with another: what
//! `agora verify` does.

use eventstore::{database::OpenError, delivery::Batch};
use tempfile::TempDir;

use crate::store::{Digest, Error, Reader, View};

/// A view in a temporary folder, which is gone when this is dropped.
pub struct Replay {
    view: View,
    _folder: TempDir,
}

impl Replay {
    /// A view that holds nothing.
    ///
    /// # Errors
    /// If the temporary folder cannot be written.
    pub async fn new() -> Result<Self, OpenError> {
        let folder = TempDir::new()
            .map_err(|source| OpenError::File { path: std::env::temp_dir(), source })?;
        let view = View::open(&folder.path().join("view.db")).await?;
        Ok(Self { view, _folder: folder })
    }

    /// Folds events of one source that follow those before.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apply(&mut self, batch: Batch) -> Result<(), Error> {
        self.view.apply(&[batch]).await.map(|_| ())
    }

    /// What the view holds now.
    ///
    /// # Errors
    /// What the database says.
    pub async fn digest(&self) -> Result<Digest, Box<dyn std::error::Error + Send + Sync>> {
        let reader = Reader::new(self.view.readers(1).await?, self.view.letters(1).await?);
        Ok(reader.digest().await?)
    }
}
