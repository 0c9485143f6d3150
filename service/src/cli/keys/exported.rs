//! What `keys export` has answered, opened on this side: material of a key on its way to another deployment.

use std::{io::Read as _, path::Path};

use age::{armor::ArmoredReader, x25519};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::cli::{failure::Failure, input};

/// Longest material in bytes.
const MATERIAL_MAX: u64 = 64 << 10;
/// Letters of a line of PEM.
const LINE: usize = 64;

/// One version, as an import takes it.
pub(super) struct Exported {
    /// Its identifier.
    pub(super) kid: String,
    /// Base64, or PEM.
    pub(super) material: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Answer {
    kid: String,
    format: String,
    ciphertext: String,
}

impl Exported {
    /// Reads the answer and opens it.
    ///
    /// # Errors
    /// One of the files can't be read, or they do not belong together.
    pub(super) fn read(path: &Path, identity: &Path) -> Result<Self, Failure> {
        let local = |line: &str| Failure::Local(line.to_owned());
        let text = input::text_file("--exported-file", path)?;
        let answer: Answer = serde_json::from_str(&text)
            .map_err(|_| local("--exported-file must hold the answer of `claviger keys export`"))?;
        let identity = input::text_file("--identity", identity)?;
        let keys = identity.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities = keys.map(str::parse).collect::<Result<Vec<x25519::Identity>, _>>();
        let identities = identities.map_err(|_| local("--identity must hold age secret keys, one a line"))?;
        let secret = open(&answer.ciphertext, &identities).ok_or_else(|| {
            local("the exported key does not open: it is for another recipient, or was damaged")
        })?;
        let material = match answer.format.as_str() {
            "raw" => Zeroizing::new(BASE64_STANDARD.encode(secret.as_slice())),
            "pkcs8" => pem(&secret),
            _ => return Err(local("the exported key has a format that this release does not know")),
        };
        Ok(Self { kid: answer.kid, material })
    }
}

fn open(ciphertext: &str, identities: &[x25519::Identity]) -> Option<Zeroizing<Vec<u8>>> {
    let decryptor = age::Decryptor::new(ArmoredReader::new(ciphertext.as_bytes())).ok()?;
    let identities = identities.iter().map(|identity| identity as &dyn age::Identity);
    let mut secret = Zeroizing::new(Vec::with_capacity(4_096));
    decryptor.decrypt(identities).ok()?.take(MATERIAL_MAX).read_to_end(&mut secret).ok()?;
    Some(secret)
}

fn pem(der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(2 * base64.len() + LINE));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for (place, letter) in base64.chars().enumerate() {
        if place > 0 && place.is_multiple_of(LINE) {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    pem
}
