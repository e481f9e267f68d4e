//! JetStream, as one installation sees it. Whoever wants a source's stream asks here: this is
//! the one place that looks whose it is.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_nats::jetstream::{self, context::GetStreamErrorKind, stream};
use bus_schema::{Installation, Source, Stream};

use crate::failpoint;

/// The streams of an installation; cheap to clone.
#[derive(Clone)]
pub struct Bus {
    jetstream: jetstream::Context,
    installation: Installation,
    /// What was said in the log, so that it is said once however many ask again and again.
    told: Arc<Mutex<BTreeMap<Source, Foreign>>>,
}

/// A stream does not belong to this installation: nothing is done with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Foreign {
    /// Whose events it is for.
    pub of: Source,
    /// The installation that its metadata names, if it names one.
    pub theirs: Option<String>,
    /// The one that asked.
    pub ours: Installation,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, theirs, ours } = self;
        write!(f, "stream {} ", Stream::of(*of, 1, -1).name)?;
        match theirs {
            Some(theirs) => write!(f, "belongs to another installation, {theirs}")?,
            None => f.write_str("names no installation, as those of older versions do")?,
        }
        write!(
            f,
            "; this one is {ours}: nothing is read from it or written to it; point this service \
             at its own NATS account, or take the stream over with `agora admin stream adopt {of}`"
        )
    }
}

/// Why a stream is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It is not this installation's.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// It cannot be asked.
    #[error(transparent)]
    Unavailable(#[from] async_nats::Error),
}

impl Bus {
    /// The streams of this installation.
    pub fn new(jetstream: jetstream::Context, installation: Installation) -> Self {
        Self { jetstream, installation, told: Arc::default() }
    }

    /// What all of it is done with.
    pub const fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Whose streams these are.
    pub const fn installation(&self) -> &Installation {
        &self.installation
    }

    /// A source's stream with what its leader says of it; none if it is absent.
    ///
    /// # Errors
    /// [`StreamError::Foreign`] if it is not this installation's.
    pub async fn stream(&self, source: Source) -> Result<Option<stream::Stream>, StreamError> {
        let Some(stream) = self.anybodys(source).await? else { return Ok(None) };
        self.judge(source, stream.cached_info())?;
        Ok(Some(stream))
    }

    /// The same, whoever it belongs to: only to say so, and to take it over.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub async fn anybodys(
        &self,
        source: Source,
    ) -> Result<Option<stream::Stream>, async_nats::Error> {
        match self.jetstream.get_stream(Stream::of(source, 1, -1).name).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(cause)
                    if cause.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Whether a stream is this installation's; says it once in the log if it is not.
    fn judge(&self, source: Source, info: &stream::Info) -> Result<(), Foreign> {
        let theirs = installation(info);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if theirs == Some(self.installation.as_str()) || failpoint!(InstallationIgnored) {
            if told.remove(&source).is_some() {
                tracing::info!(%source, "the stream is this installation's now");
            }
            return Ok(());
        }
        let ours = self.installation.clone();
        let foreign = Foreign { of: source, theirs: theirs.map(Into::into), ours };
        if told.insert(source, foreign.clone()).as_ref() != Some(&foreign) {
            tracing::error!(%source, error = %foreign, "the stream is not this installation's");
        }
        Err(foreign)
    }
}

/// The installation that a stream's metadata names.
pub fn installation(info: &stream::Info) -> Option<&str> {
    let name = info.config.metadata.get(Stream::INSTALLATION_KEY)?;
    (!name.is_empty()).then_some(name)
}
