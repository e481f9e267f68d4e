use std::{collections::BTreeMap, fs, time::Duration};

use tempfile::TempDir;

use crate::{
    auth::{
        Role,
        token::{Claims, KeyPair, generate_key, sign},
    },
    config,
};

/// How long a token is valid: longer than any test.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// A key, and the tokens that it signs.
pub struct Tokens {
    key: KeyPair,
    folder: TempDir,
}

impl Tokens {
    /// A new key.
    ///
    /// # Panics
    /// If it cannot be made.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let key = generate_key().expect("the system gives random bytes");
        let folder = TempDir::new().expect("a temporary folder can be made");
        let tokens = Self { key, folder };
        fs::write(tokens.path(), &tokens.key.public_pem).expect("its folder can be written");
        tokens
    }

    /// `[auth]` of a server that believes its tokens.
    pub fn auth(&self) -> config::Auth {
        config::Auth { public_keys: vec![self.path()], ..Default::default() }
    }

    /// A token for a user with roles per site; `*` stands for every site. The user's
    /// name is the id in capitals.
    ///
    /// # Panics
    /// If it cannot be signed.
    pub fn token(&self, user: &str, roles: &[(&str, Role)]) -> String {
        let mut by_site = BTreeMap::<_, std::collections::BTreeSet<_>>::new();
        for (site, role) in roles {
            by_site.entry((*site).to_owned()).or_default().insert(*role);
        }
        let claims = Claims {
            subject: user.into(),
            name: user.to_uppercase(),
            roles: by_site,
            lifetime: LIFETIME,
        };
        let config::Auth { issuer, audience, .. } = self.auth();
        sign(&self.key.private_pem, &claims, &issuer, &audience).expect("its own key can sign")
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("public.pem")
    }
}
