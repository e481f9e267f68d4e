use std::{fmt, str::FromStr, sync::Arc};

/// The name of one Agora: it stands in the metadata of every stream that belongs to it, so that
/// several can share a NATS server without taking each other's events for their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation(Arc<str>);

/// A text that is no name of an installation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} characters out of A-Z, a-z, 0-9 and . _ / -", Installation::MAX_LENGTH)]
pub struct InvalidInstallation;

impl Installation {
    /// How many characters a name has at most.
    pub const MAX_LENGTH: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Installation {
    type Err = InvalidInstallation;

    fn from_str(text: &str) -> Result<Self, InvalidInstallation> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.bytes().all(is_allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidInstallation)
        }
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "a".repeat(Installation::MAX_LENGTH);
        for name in ["a", "team-a/agora", "agora_2.Blog", "agora-0123456789ab", &longest] {
            assert_eq!(name.parse::<Installation>().unwrap().as_str(), name);
        }
        let too_long = "a".repeat(Installation::MAX_LENGTH + 1);
        for name in ["", " ", "two words", "a\n", "bl\u{f6}g", "a:b", &too_long] {
            assert_eq!(name.parse::<Installation>(), Err(InvalidInstallation), "{name:?}");
        }
    }
}
