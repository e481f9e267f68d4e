use bus_schema::InvalidInstallation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[installation]`: which Agora this is.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Installation {
    /// Its name, the same for all of its services and for no other Agora on the same NATS
    /// account: 1 to 128 characters out of `A-Z`, `a-z`, `0-9` and `. _ / -`, such as
    /// `team-a/agora`. It is written into the metadata of the streams; a stream with another
    /// name, or with none, is left alone. `agora up` makes one and keeps it in its data folder.
    pub name: Option<String>,
}

/// Why there is no name.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// It is not set.
    #[error(
        "installation.name (AGORA_INSTALLATION__NAME) is not set: give this Agora a name of its \
         own, such as team-a/agora, the same for all of its services"
    )]
    Missing,
    /// It is none.
    #[error("wrong setting installation.name (AGORA_INSTALLATION__NAME): {0:?}")]
    Invalid(String, #[source] InvalidInstallation),
}

impl Installation {
    /// The name, checked.
    ///
    /// # Errors
    /// If it is not set, or is none.
    pub fn parse(&self) -> Result<bus_schema::Installation, InstallationError> {
        let name = self.name.as_ref().ok_or(InstallationError::Missing)?;
        name.parse().map_err(|source| InstallationError::Invalid(name.clone(), source))
    }
}
