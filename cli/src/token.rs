//! Access tokens that the program makes by itself.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use chassis::auth::token::{self, Claims};

use crate::{
    error::Error,
    folder::Run,
    options::{Options, Role},
};

/// Who signs, and whom a server must be told to believe.
pub struct Issuer<'a> {
    /// The file of the private key, in PEM.
    pub key: &'a Path,
    pub issuer: String,
    pub audience: String,
}

impl<'a> Issuer<'a> {
    /// One with this key: what the options say, else what the running `agora up` expects.
    pub fn of(options: &Options, key: &'a Path, run: Option<&Run>) -> Self {
        let usual = chassis::config::Auth::default();
        let (issuer, audience) = match run {
            Some(run) => (run.issuer.clone(), run.audience.clone()),
            None => (usual.issuer, usual.audience),
        };
        Self {
            key,
            issuer: options.issuer.clone().unwrap_or(issuer),
            audience: options.audience.clone().unwrap_or(audience),
        }
    }
}

/// Makes a token for a user who has these roles on one site, or with `*` on all.
pub fn make(
    issuer: &Issuer<'_>,
    user: &str,
    name: &str,
    site: &str,
    roles: &[Role],
    lifetime: Duration,
) -> Result<String, Error> {
    let key = fs::read_to_string(issuer.key).map_err(Error::file("read the key", issuer.key))?;
    let roles = roles.iter().map(|role| (*role).into()).collect();
    let claims = Claims {
        subject: user.to_owned(),
        name: name.to_owned(),
        roles: BTreeMap::from([(site.to_owned(), roles)]),
        lifetime,
    };
    token::sign(&key, &claims, &issuer.issuer, &issuer.audience)
        .map_err(Error::file("sign with the key", issuer.key))
}
