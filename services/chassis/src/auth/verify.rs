use std::{collections::HashMap, sync::Arc};

use bus_schema::{POLICY_ACTOR, Site};
use jsonwebtoken::{
    Algorithm, DecodingKey, TokenData, Validation, decode, errors::ErrorKind, get_current_timestamp,
};
use quick_cache::sync::Cache;

use super::{
    EVERY_SITE, Principal, UnknownRole,
    token::{self, KeyError, Read},
};
use crate::{Error, config};

/// How many verified tokens are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// How many bytes a token has at most.
const MAX_TOKEN: usize = 8 * 1024;
/// How many characters a principal's id or name has at most.
const MAX_NAME: usize = 200;

/// Verifies bearer tokens. A signature costs about 50 µs to verify, so what was
/// verified is remembered, by the token's BLAKE3 hash, until the token expires.
pub(crate) struct Verifier {
    keys: Vec<DecodingKey>,
    validation: Validation,
    leeway_s: u64,
    remembered: Cache<[u8; 32], Verified>,
}

#[derive(Clone)]
struct Verified {
    principal: Arc<Principal>,
    /// In seconds since 1970.
    expires: u64,
}

impl Verifier {
    /// A verifier with the configured keys.
    ///
    /// # Errors
    /// The path of a key that cannot be used, and why.
    pub(crate) fn new(settings: &config::Auth) -> Result<Self, (std::path::PathBuf, KeyError)> {
        let mut keys = Vec::new();
        for path in &settings.public_keys {
            keys.push(token::read_public_key(path).map_err(|error| (path.clone(), error))?);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.leeway = settings.leeway_s;
        validation.validate_nbf = true;
        let remembered = Cache::new(MAX_REMEMBERED);
        Ok(Self { keys, validation, leeway_s: settings.leeway_s, remembered })
    }

    /// Whether there is a key.
    pub(crate) const fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The principal of an `authorization` header.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`].
    pub(crate) fn verify(&self, header: &[u8]) -> Result<Arc<Principal>, Error> {
        let token = bearer(header).ok_or_else(|| invalid("it must be: Bearer <token>"))?;
        if token.len() > MAX_TOKEN {
            return Err(invalid(format!("it has more than {MAX_TOKEN} bytes")));
        }
        let hash = *blake3::hash(token).as_bytes();
        if let Some(known) = self.remembered.get(&hash) {
            if get_current_timestamp() <= known.expires.saturating_add(self.leeway_s) {
                return Ok(known.principal);
            }
            self.remembered.remove(&hash);
        }
        let claims = self.decode(token)?;
        let expires = claims.exp;
        let principal = Arc::new(principal(claims)?);
        self.remembered.insert(hash, Verified { principal: principal.clone(), expires });
        Ok(principal)
    }

    fn decode(&self, token: &[u8]) -> Result<Read, Error> {
        if self.keys.is_empty() {
            return Err(invalid("this server has no auth.public_keys to verify it with"));
        }
        for key in &self.keys {
            match decode::<Read>(token, key, &self.validation) {
                Ok(TokenData { claims, .. }) => return Ok(claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(error) => return Err(self.explain(error.kind())),
            }
        }
        Err(invalid("its signature is not of a key that this server knows"))
    }

    fn explain(&self, kind: &ErrorKind) -> Error {
        invalid(match kind {
            ErrorKind::ExpiredSignature => "it has expired".into(),
            ErrorKind::ImmatureSignature => "it is not valid yet".into(),
            ErrorKind::InvalidIssuer => format!("its issuer must be {}", one(&self.validation.iss)),
            ErrorKind::InvalidAudience => {
                format!("its audience must be {}", one(&self.validation.aud))
            }
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
                "it must be signed with EdDSA".into()
            }
            ErrorKind::MissingRequiredClaim(claim) => format!("it lacks the claim {claim}"),
            ErrorKind::Json(error) => format!("its claims cannot be read: {error}"),
            _ => "it is not a JWT".to_owned(),
        })
    }
}

fn one(values: &Option<std::collections::HashSet<String>>) -> &str {
    values.iter().flatten().next().map_or("", String::as_str)
}

fn invalid(what: impl Into<String>) -> Error {
    Error::TokenInvalid(what.into())
}

/// The token of a header; the scheme's case does not matter (RFC 7235).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(b"bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

fn principal(claims: Read) -> Result<Principal, Error> {
    let Read { sub, name, roles, .. } = claims;
    for (claim, value) in [("sub", &sub), ("name", &name)] {
        if value.chars().count() > MAX_NAME || value.chars().any(char::is_control) {
            return Err(invalid(format!(
                "its {claim} must have at most {MAX_NAME} characters, no control characters"
            )));
        }
    }
    if sub.is_empty() || sub == POLICY_ACTOR {
        return Err(invalid(format!("its sub must not be empty, nor {POLICY_ACTOR}")));
    }
    let mut by_site = HashMap::with_capacity(roles.len());
    for (site, names) in roles {
        if site != EVERY_SITE && site.parse::<Site>().is_err() {
            return Err(invalid(format!("its roles name {site}, which is no site")));
        }
        let roles = names.iter().map(|name| name.parse());
        let roles = roles.collect::<Result<_, UnknownRole>>();
        by_site.insert(site, roles.map_err(|error| invalid(format!("its roles: {error}")))?);
    }
    Ok(Principal { id: sub, name, roles: by_site })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, time::Duration};

    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;
    use crate::auth::{
        Role,
        token::{Claims, KeyPair, generate_key, sign},
    };

    struct Fixture {
        keys: Vec<KeyPair>,
        verifier: Verifier,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let keys = vec![generate_key().unwrap(), generate_key().unwrap()];
        let mut settings = config::Auth::default();
        for (index, key) in keys.iter().enumerate() {
            let path = folder.path().join(index.to_string());
            fs::write(&path, &key.public_pem).unwrap();
            settings.public_keys.push(path);
        }
        let verifier = Verifier::new(&settings).unwrap();
        Fixture { keys, verifier }
    }

    fn claims() -> Claims {
        Claims {
            subject: "ada".into(),
            name: "Ada".into(),
            roles: BTreeMap::from([("blog".into(), [Role::Author, Role::Reader].into())]),
            lifetime: Duration::from_secs(60),
        }
    }

    fn signed(key: &KeyPair, claims: &serde_json::Value) -> String {
        let key = EncodingKey::from_ed_pem(key.private_pem.as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &key).unwrap()
    }

    impl Fixture {
        fn refused(&self, header: &str) -> String {
            // Twice: a refusal must not be remembered as anything else.
            let first = self.verifier.verify(header.as_bytes()).unwrap_err();
            assert!(matches!(first, Error::TokenInvalid(_)));
            assert!(self.verifier.verify(header.as_bytes()).is_err());
            first.to_string()
        }

        fn refused_with(&self, change: impl FnOnce(&mut serde_json::Value)) -> String {
            let mut claims = json!({
                "sub": "ada", "iss": "agora", "aud": "agora",
                "exp": get_current_timestamp() + 60, "roles": {"blog": ["author"]},
            });
            change(&mut claims);
            self.refused(&format!("Bearer {}", signed(&self.keys[0], &claims)))
        }
    }

    #[test]
    fn every_configured_key_counts() {
        let fixture = fixture();
        for key in &fixture.keys {
            let token = sign(&key.private_pem, &claims(), "agora", "agora").unwrap();
            for scheme in ["Bearer", "bearer"] {
                let header = format!("{scheme} {token}");
                let principal = fixture.verifier.verify(header.as_bytes()).unwrap();
                assert_eq!((principal.id.as_str(), principal.name.as_str()), ("ada", "Ada"));
                assert_eq!(principal.roles["blog"], [Role::Author, Role::Reader].into());
            }
            assert_eq!(fixture.verifier.remembered.len() % 2, 1, "scheme does not matter");
            fixture.verifier.remembered.clear();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fixture = fixture();
        let stranger = generate_key().unwrap();
        let forged = sign(&stranger.private_pem, &claims(), "agora", "agora").unwrap();
        assert!(fixture.refused(&format!("Bearer {forged}")).contains("signature"));
        let foreign = sign(&fixture.keys[0].private_pem, &claims(), "other", "agora").unwrap();
        assert!(fixture.refused(&format!("Bearer {foreign}")).contains("issuer must be agora"));
        let foreign = sign(&fixture.keys[0].private_pem, &claims(), "agora", "other").unwrap();
        assert!(fixture.refused(&format!("Bearer {foreign}")).contains("audience must be agora"));
        for header in ["", "Bearer", "Bearer ", "Basic YWRhOng=", "Bearer x", "Bearer a.b.c"] {
            fixture.refused(header);
        }
        let long = "x".repeat(MAX_TOKEN + 1);
        assert!(fixture.refused(&format!("Bearer {long}")).contains("8192"));

        let now = get_current_timestamp();
        let expired = fixture.refused_with(|claims| claims["exp"] = json!(now - 31));
        assert!(expired.contains("expired"), "{expired}");
        let early = fixture.refused_with(|claims| claims["nbf"] = json!(now + 60));
        assert!(early.contains("not valid yet"), "{early}");
        let unknown = fixture.refused_with(|claims| claims["roles"] = json!({"blog": ["root"]}));
        assert!(unknown.contains("unknown role root"), "{unknown}");
        let no_site = fixture.refused_with(|claims| claims["roles"] = json!({"B L": ["author"]}));
        assert!(no_site.contains("no site"), "{no_site}");
        let policy = fixture.refused_with(|claims| claims["sub"] = json!("policy"));
        assert!(policy.contains("policy"), "{policy}");
        fixture.refused_with(|claims| claims["sub"] = json!("a\nb"));
        for claim in ["sub", "exp", "iss", "aud"] {
            let lacks = fixture.refused_with(|claims| {
                claims.as_object_mut().unwrap().remove(claim);
            });
            assert!(lacks.contains(claim), "{claim}: {lacks}");
        }
    }

    #[test]
    fn another_algorithm_is_refused() {
        let fixture = fixture();
        let public = fixture.keys[0].public_pem.as_bytes();
        let claims = json!({
            "sub": "ada", "iss": "agora", "aud": "agora", "exp": get_current_timestamp() + 60,
        });
        let secret = EncodingKey::from_secret(public);
        let token = jsonwebtoken::encode(&Header::default(), &claims, &secret).unwrap();
        assert!(fixture.refused(&format!("Bearer {token}")).contains("EdDSA"));
        let none = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.";
        fixture.refused(none);
    }

    #[test]
    fn what_is_remembered_expires() {
        let fixture = fixture();
        let token = sign(&fixture.keys[0].private_pem, &claims(), "agora", "agora").unwrap();
        let header = format!("Bearer {token}");
        fixture.verifier.verify(header.as_bytes()).unwrap();
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        let mut known = fixture.verifier.remembered.get(&hash).unwrap();

        known.expires = get_current_timestamp() - 31;
        let stale = Arc::new(Principal { id: "stale".into(), ..(*known.principal).clone() });
        let verified = Verified { principal: stale, expires: known.expires };
        fixture.verifier.remembered.insert(hash, verified);
        let principal = fixture.verifier.verify(header.as_bytes()).unwrap();
        assert_eq!(principal.id, "ada", "verified anew");
    }

    #[test]
    fn without_keys_no_token_is_believed() {
        let verifier = Verifier::new(&config::Auth::default()).unwrap();
        assert!(!verifier.has_keys());
        let error = verifier.verify(b"Bearer a.b.c").unwrap_err().to_string();
        assert!(error.contains("no auth.public_keys"), "{error}");
    }
}
