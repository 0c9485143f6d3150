//! Secrets of replaced systems, by fingerprints that the server gives.

use std::collections::HashMap;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use claviger_crypto::digest;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::{body::member, failure::Failure};

/// What stands for imported secrets.
pub(super) struct Fingerprints {
    salt: String,
    known: HashMap<[u8; 32], Value>,
}

impl Fingerprints {
    /// Reads the server's answer.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn read(answer: &Value) -> Result<Self, Failure> {
        let unexpected = || Failure::answer("unexpected_answer", "the server gives no fingerprints");
        let salt = answer.get("salt").and_then(Value::as_str).ok_or_else(unexpected)?.to_owned();
        let items = answer.get("items").and_then(Value::as_array).ok_or_else(unexpected)?;
        let mut known = HashMap::new();
        for item in items {
            let text = |member: &str| item.get(member).and_then(Value::as_str).unwrap_or_default();
            let hash = unhex(text("fingerprint")).ok_or_else(unexpected)?;
            let (key, version, state) = (text("key"), &member(item, "version"), text("state"));
            let live = matches!(state, "pre_activation" | "active" | "deactivated");
            let revoke = live.then(|| format!("claviger keys compromise {key} {version} --reason leaked"));
            let finding = json!({
                "kind": "legacy_secret",
                "live": live,
                "why": format!("it is version {version}, {state}"),
                "key": key,
                "revoke": revoke,
            });
            known.insert(hash, finding);
        }
        Ok(Self { salt, known })
    }

    /// There is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What a value is: itself, what it stands for in base64 or hexadecimal digits, or the hash that keys were made of.
    pub(super) fn find(&self, value: &[u8]) -> Option<Value> {
        let find = |bytes: &[u8]| {
            let hash = digest::hmac_sha256(self.salt.as_bytes(), &[bytes]);
            self.known.get(&hash).cloned()
        };
        let decoded = || {
            let text = std::str::from_utf8(value).ok()?;
            let hex = unhex_all(text).map(Zeroizing::new);
            let base64 = || STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok().map(Zeroizing::new);
            let bytes = hex.or_else(base64)?;
            find(&bytes)
        };
        find(value).or_else(|| find(&digest::sha256(value))).or_else(decoded)
    }
}

fn unhex_all(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    unhex_all(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn secrets_are_known_in_every_form() {
        let secret = b"deterministic-secret".as_slice();
        let raw = [9; 32];
        let of = |bytes: &[u8]| hex(&digest::hmac_sha256(b"salt", &[bytes]));
        let item = |fingerprint: String, key: &str| json!({"fingerprint": fingerprint, "key": key, "version": 1, "state": "active"});
        let answer = json!({"salt": "salt", "items": [
            item(of(secret), "hs"), item(of(&digest::sha256(b"another-secret")), "aes"), item(of(&raw), "raw"),
        ]});
        let known = Fingerprints::read(&answer).unwrap();
        let key = |value: &[u8]| known.find(value).map(|found| found["key"].as_str().unwrap().to_owned());
        assert_eq!(key(secret).as_deref(), Some("hs"));
        assert_eq!(key(b"another-secret").as_deref(), Some("aes"));
        assert_eq!(key(STANDARD.encode(raw).as_bytes()).as_deref(), Some("raw"));
        assert_eq!(key(hex(&raw).as_bytes()).as_deref(), Some("raw"));
        assert_eq!(key(b"deterministic-secrets"), None);
        assert!(Fingerprints::read(&json!({})).is_err());
    }
}
