//! Searching for secrets in every dress they may wear.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use claviger_crypto::{base62, digest};

/// Byte strings that must not be found.
#[derive(Default)]
pub struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    /// Adds a secret: itself and its SHA-256, each raw, in hex, base64, base64url and base62.
    pub fn add(&mut self, name: &str, secret: &[u8]) {
        self.dress(name, secret);
        self.dress(&format!("SHA-256 of {name}"), &digest::sha256(secret));
    }

    fn dress(&mut self, name: &str, bytes: &[u8]) {
        let mut put = |form: &str, dressed: Vec<u8>| {
            // Shorter ones would be found by chance.
            if dressed.len() >= 8 {
                self.0.push((format!("{name} ({form})"), dressed));
            }
        };
        put("raw", bytes.to_vec());
        put("hex", hex::encode(bytes).into_bytes());
        put("HEX", hex::encode_upper(bytes).into_bytes());
        put("base62", base62::encode(bytes).into_bytes());
        // Within a longer base64 text the bytes may begin at any of three positions; the edges depend on the neighbours.
        for shift in 0..3 {
            let shifted = STANDARD_NO_PAD.encode([&vec![0; shift], bytes].concat());
            let head = [0, 2, 3][shift];
            let tail = shifted.len() - usize::from(!(bytes.len() + shift).is_multiple_of(3));
            let inner = &shifted[head..tail];
            put("base64", inner.as_bytes().to_vec());
            put("base64url", inner.replace('+', "-").replace('/', "_").into_bytes());
        }
    }

    /// The names of those that are in a haystack.
    #[must_use]
    pub fn found_in(&self, haystack: &[u8]) -> Vec<&str> {
        let is_in = |needle: &[u8]| {
            let Some(first) = needle.first() else { return false };
            let mut from = 0;
            while let Some(at) = haystack[from..].iter().position(|byte| byte == first) {
                if haystack[from + at..].starts_with(needle) {
                    return true;
                }
                from += at + 1;
            }
            false
        };
        self.0.iter().filter(|(_, needle)| is_in(needle)).map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn planted_needles_are_found() {
        let secret = b"\x00\xffa secret of some length\xfb\xff";
        let mut needles = Needles::default();
        needles.add("it", secret);
        let hash = digest::sha256(secret);
        for bytes in [&secret[..], &hash] {
            for before in ["", "a", "ab", "abc"] {
                let around = [before.as_bytes(), bytes, b"after"].concat();
                let dresses = [
                    around.clone(),
                    hex::encode(&around).into_bytes(),
                    hex::encode_upper(&around).into_bytes(),
                    STANDARD.encode(&around).into_bytes(),
                    URL_SAFE_NO_PAD.encode(&around).into_bytes(),
                    format!("x{}y", base62::encode(bytes)).into_bytes(),
                ];
                for dress in dresses {
                    assert!(
                        !needles.found_in(&dress).is_empty(),
                        "{before:?} {}",
                        String::from_utf8_lossy(&dress)
                    );
                }
            }
        }
        assert!(needles.found_in(b"nothing of the kind").is_empty());
    }
}
