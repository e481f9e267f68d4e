//! Taking over a stream that is not this installation's, because an operator says so: it was
//! made by an older version, which wrote no name, or the installation has another name now.

use bus_schema::{Installation, Sequence, Source};

use super::{
    compare::{CompareError, Finding, compare_with},
    inspect::Keeper,
};
use crate::database::Backend;
use chassis::Error;

/// A stream that was taken over.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// Whose it was; its own, if there was nothing to do.
    pub(crate) from: Option<String>,
    /// Whose it is.
    pub(crate) installation: Installation,
    /// Where the stream ends.
    pub(crate) stream: Sequence,
    /// Where the journal ended.
    pub(crate) journal: Sequence,
}

/// Why a stream is left to whom it belongs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    #[error(transparent)]
    Chassis(#[from] Error),
    #[error("there is no stream: the relay creates it")]
    Absent,
    #[error("{}", not_from(*.of, .from.as_deref(), *.messages))]
    NotFrom { of: Source, from: Option<String>, messages: u64 },
    #[error("the stream is unchanged: {0}")]
    Differs(String),
}

fn not_from(of: Source, from: Option<&str>, messages: u64) -> String {
    let command = format!("`agora admin stream adopt {of}");
    match from {
        Some(from) => format!(
            "the stream belongs to the installation {from}, and holds {messages} messages: \
             {command} --from {from}` takes it away from there"
        ),
        None => format!(
            "the stream names no installation, and holds {messages} messages: {command}` takes \
             it without --from"
        ),
    }
}

impl From<CompareError> for AdoptError {
    fn from(error: CompareError) -> Self {
        Self::Chassis(error.into())
    }
}

impl<B: Backend> Keeper<B> {
    /// Makes the stream this installation's if it belongs to whom the operator says, and may
    /// be this journal's: it is empty, or one of both begins like the other. What else differs
    /// is found, and healed or not, as in a stream that always was this installation's.
    pub(crate) async fn adopt(&self, from: Option<&str>) -> Result<Adopted, AdoptError> {
        let found = self.remote.anybodys().await.map_err(CompareError::Stream)?;
        let (extent, theirs) = found.ok_or(AdoptError::Absent)?;
        let installation = self.remote.bus().installation().clone();
        let head = B::head(&mut *self.readers.acquire().await.map_err(Error::from)?).await;
        let journal = head.map_err(Error::from)?.sequence;
        let adopted = |from| Adopted { from, installation, stream: extent.last, journal };
        if theirs.as_deref() == Some(self.remote.bus().installation().as_str()) {
            return Ok(adopted(theirs));
        }
        if theirs.as_deref() != from {
            return Err(AdoptError::NotFrom {
                of: self.remote.source(),
                from: theirs,
                messages: extent.messages,
            });
        }
        if let Finding::Foreign(what) =
            compare_with::<B>(&self.remote, &self.readers, extent).await?
        {
            return Err(AdoptError::Differs(what));
        }
        tracing::warn!(
            stream = self.remote.name(),
            from = theirs.as_deref().unwrap_or_default(),
            messages = extent.messages,
            journal = journal.0,
            "adopting the stream, as ordered by an operator"
        );
        self.remote.adopt().await.map_err(CompareError::Stream)?;
        Ok(adopted(theirs))
    }
}
