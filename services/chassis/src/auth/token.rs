//! Bearer tokens: JWT, signed with Ed25519 (EdDSA).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    time::Duration,
};

use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, spki::der::pem::LineEnding},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode, get_current_timestamp};
use rand::TryRng as _;
use serde::{Deserialize, Serialize};

use super::Role;

/// What a token says.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The principal's id.
    pub subject: String,
    /// The principal's name; may be empty.
    pub name: String,
    /// Roles per site; `*` stands for every site.
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// How long the token is valid, from now.
    pub lifetime: Duration,
}

/// A key pair as PEM.
pub struct KeyPair {
    /// PKCS #8; keep it secret.
    pub private_pem: String,
    /// SubjectPublicKeyInfo; for `auth.public_keys`.
    pub public_pem: String,
}

/// A key that cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file cannot be read.
    #[error("it cannot be read")]
    File(#[from] std::io::Error),
    /// It is no Ed25519 key in PEM.
    #[error("it is not an Ed25519 key in PEM")]
    Format(#[from] jsonwebtoken::errors::Error),
    /// It cannot be made.
    #[error("it cannot be made")]
    Make(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The claims as they stand in a token.
#[derive(Debug, Serialize)]
struct Signed<'a> {
    sub: &'a str,
    name: &'a str,
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    roles: &'a BTreeMap<String, BTreeSet<Role>>,
}

/// The claims as they are read from a token. Roles are parsed later, so that an
/// unknown one can be named.
#[derive(Debug, Deserialize)]
pub(super) struct Read {
    pub(super) sub: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) exp: u64,
    #[serde(default)]
    pub(super) roles: HashMap<String, Vec<String>>,
}

/// Makes a key pair.
///
/// # Errors
/// [`KeyError::Make`] if the system gives no random bytes.
pub fn generate_key() -> Result<KeyPair, KeyError> {
    let mut secret = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut secret).map_err(|error| KeyError::Make(error.into()))?;
    let key = SigningKey::from_bytes(&secret);
    let private_pem =
        key.to_pkcs8_pem(LineEnding::LF).map_err(|error| KeyError::Make(error.into()))?;
    let public_pem = key
        .verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .map_err(|error| KeyError::Make(error.into()))?;
    Ok(KeyPair { private_pem: private_pem.to_string(), public_pem })
}

/// Signs a token with a private key in PEM.
///
/// # Errors
/// [`KeyError::Format`].
pub fn sign(
    private_pem: &str,
    claims: &Claims,
    issuer: &str,
    audience: &str,
) -> Result<String, KeyError> {
    let key = EncodingKey::from_ed_pem(private_pem.as_bytes())?;
    let now = get_current_timestamp();
    let signed = Signed {
        sub: &claims.subject,
        name: &claims.name,
        iss: issuer,
        aud: audience,
        iat: now,
        exp: now.saturating_add(claims.lifetime.as_secs()),
        roles: &claims.roles,
    };
    Ok(encode(&Header::new(Algorithm::EdDSA), &signed, &key)?)
}

/// Reads a public key from a PEM file.
pub(super) fn read_public_key(path: &Path) -> Result<DecodingKey, KeyError> {
    Ok(DecodingKey::from_ed_pem(&std::fs::read(path)?)?)
}
