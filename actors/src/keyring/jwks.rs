//! JSON Web Key Sets (RFC 7517) of public halves.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use claviger_crypto::jwk;
use claviger_entity::Usage;
use serde_json::{Value, json};

use super::record::Key;

/// A set as it goes out: rendered once per snapshot.
#[derive(Debug)]
pub struct Jwks {
    /// The JSON body.
    pub body: String,
    /// Strong entity tag, quotes included: a hash of the body, so that it moves only when the set does.
    pub etag: String,
    /// The body in gzip, made when somebody takes it so.
    pub gzip: OnceLock<Option<Bytes>>,
}

impl Jwks {
    /// Every public half of every token key. Keys of other usages are served one by one: a signature over arbitrary bytes
    /// must never pass for a token.
    pub fn of_tokens<'a>(keys: impl Iterator<Item = &'a Arc<Key>>) -> Self {
        Self::render(
            keys.filter(|key| key.record.usage == Usage::Token && !key.record.name.is_internal())
                .flat_map(|key| public_halves(key)),
        )
    }

    /// The public halves of one key.
    #[must_use]
    pub fn of_key(key: &Key) -> Self {
        Self::render(public_halves(key))
    }

    fn render(keys: impl Iterator<Item = Value>) -> Self {
        let body = json!({ "keys": keys.collect::<Vec<_>>() }).to_string();
        let digest = digest::digest(&digest::SHA256, body.as_bytes());
        Self { etag: format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest.as_ref())), body, gzip: OnceLock::new() }
    }
}

fn public_halves(key: &Key) -> impl Iterator<Item = Value> {
    let key_type = key.record.key_type;
    let listed = key.record.deleted_at.is_none();
    // Newest first: clients that take the first key of a set take the best one.
    key.versions.values().rev().filter(move |version| listed && version.state.may_consume()).filter_map(
        move |version| {
            let spki = version.public_spki.as_deref()?;
            jwk::public_jwk(key_type, spki, &version.kid).ok()
        },
    )
}
