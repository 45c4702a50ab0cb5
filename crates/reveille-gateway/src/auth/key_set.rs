//! Sets of public keys (JWKS, RFC 7517).

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Most bytes of a document with keys.
pub(super) const JWKS_BYTES: usize = 256 * 1024;

/// The keys of a document that can check signatures.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The algorithm that the document says it is for.
    algorithm: Option<String>,
    key: DecodingKey,
}

impl KeySet {
    /// The keys in a document; nothing if it is none. Keys of a sort that is not known are passed over.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(json).ok()?;
        let keys = document.keys.into_iter().filter_map(|value| {
            let jwk: Jwk = serde_json::from_value(value).ok()?;
            if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
                return None;
            }
            Some(Key {
                key: DecodingKey::from_jwk(&jwk).ok()?,
                id: jwk.common.key_id,
                algorithm: jwk.common.key_algorithm.map(|name| name.to_string()),
            })
        });
        Some(Self(keys.collect()))
    }

    /// The keys with which a token of this id may be signed. A key that says no algorithm has that of
    /// the issuer.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let name = format!("{algorithm:?}");
        let fits = |key: &&Key| {
            key.algorithm.as_ref().is_none_or(|own| *own == name)
                && id.is_none_or(|id| key.id.as_deref() == Some(id))
                // A key of another family would make the library refuse; here it is just not the one.
                && key.key.family().algorithms().contains(&algorithm)
        };
        let fitting = self.0.iter().filter(fits);
        fitting.map(|key| key.key.clone()).collect()
    }
}
