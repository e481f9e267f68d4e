//! Sealed page tokens: where a list goes on, for the query that it belongs to.
//!
//! A token is the nonce and the cursor sealed with XChaCha20-Poly1305, in base64url.
//! The query is authenticated with it, so that a token opens for no other query.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, keys::Keys};

/// How many characters a page token has at most; longer ones are not even decoded.
pub const MAX_TOKEN: usize = 2_048;
/// How many bytes the nonce at the front of a token has.
const NONCE: usize = 24;

/// Seals and opens the page tokens of one service.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    /// A sealer with the service's key.
    pub fn new(keys: &Keys) -> Self {
        Self { cipher: XChaCha20Poly1305::new(keys.pages().into()) }
    }

    /// Seals where a list goes on. `query` is what must not change between pages:
    /// the RPC's name and every field but page size, page token and position.
    ///
    /// # Panics
    /// If the cursor is no type that JSON can hold, which is a defect.
    pub fn seal<C: Serialize>(&self, query: &[u8], cursor: &C) -> String {
        let cursor = serde_json::to_vec(cursor).expect("a cursor is plain data");
        // 24 random bytes never repeat in practice: no counter must be kept.
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: &cursor, aad: query };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("sealing fails only for terabytes");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// Opens a token that [`Self::seal`] made for the same query.
    ///
    /// # Errors
    /// [`Error::PageToken`] for anything else.
    pub fn open<C: DeserializeOwned>(&self, query: &[u8], token: &str) -> Result<C, Error> {
        self.unseal(query, token)
            .and_then(|cursor| serde_json::from_slice(&cursor).ok())
            .ok_or(Error::PageToken)
    }

    /// Where a list begins: at the start if there is no token.
    ///
    /// # Errors
    /// [`Error::PageToken`] as [`Self::open`].
    pub fn open_next<C: DeserializeOwned>(
        &self,
        query: &[u8],
        token: &str,
    ) -> Result<Option<C>, Error> {
        if token.is_empty() { Ok(None) } else { self.open(query, token).map(Some) }
    }

    /// The token of the next page; empty on the last one.
    pub fn seal_next<C: Serialize>(&self, query: &[u8], cursor: Option<&C>) -> String {
        cursor.map(|cursor| self.seal(query, cursor)).unwrap_or_default()
    }

    fn unseal(&self, query: &[u8], token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: query };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

/// What must not change between the pages of a list: the RPC's name and its message,
/// from which page size, page token and position were taken out.
pub fn query(rpc: &str, message: &impl prost::Message) -> Vec<u8> {
    let mut query = rpc.as_bytes().to_vec();
    query.push(0);
    query.extend(message.encode_to_vec());
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"ListPosts blog";

    fn sealer(secret: &str) -> Sealer {
        Sealer::new(&Keys::derive(&secret.repeat(Keys::MIN_SECRET).into()).unwrap())
    }

    #[test]
    fn opens_what_it_sealed() {
        let sealer = sealer("a");
        let cursor = (7_u64, "né".to_owned());
        let token = sealer.seal(QUERY, &cursor);
        assert_eq!(sealer.open::<(u64, String)>(QUERY, &token).unwrap(), cursor);
        assert_ne!(sealer.seal(QUERY, &cursor), token, "each token has a nonce of its own");
    }

    #[test]
    fn refuses_what_it_did_not_seal_for_this_query() {
        let ours = sealer("a");
        let token = ours.seal(QUERY, &7_u64);
        let refused = |sealer: &Sealer, query: &[u8], token: &str| {
            matches!(sealer.open::<u64>(query, token), Err(Error::PageToken))
        };
        assert!(!refused(&ours, QUERY, &token));
        assert!(refused(&ours, b"ListPosts news", &token), "another query");
        assert!(refused(&sealer("b"), QUERY, &token), "another key");
        assert!(matches!(ours.open::<String>(QUERY, &token), Err(Error::PageToken)));
        assert!(refused(&ours, QUERY, ""));
        assert!(refused(&ours, QUERY, "%%%"));
        assert!(refused(&ours, QUERY, &"A".repeat(MAX_TOKEN + 1)));
        for length in 0..token.len() {
            assert!(refused(&ours, QUERY, &token[..length]), "cut to {length}");
        }
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[index] ^= 1;
            let token = URL_SAFE_NO_PAD.encode(bytes);
            assert!(refused(&ours, QUERY, &token), "byte {index} flipped");
        }
    }
}
