//! Master secrets as operators give them.

use claviger_crypto::secret::SecretBytes;

/// Shortest master secret.
const MIN_BYTES: usize = 32;
/// Fewest different bytes in one.
const MIN_DISTINCT: usize = 8;
/// Words that nobody's secret should hold.
const WEAK_WORDS: [&str; 4] = ["changeme", "change-me", "change_me", "password"];

/// Master secrets, newest first, at least one. No `Debug`.
#[derive(Clone)]
pub struct MasterSecrets(Vec<SecretBytes>);

impl MasterSecrets {
    /// The secrets, newest first.
    #[must_use]
    pub fn as_slice(&self) -> &[SecretBytes] {
        &self.0
    }
}

/// One secret a line, newest first.
pub(crate) fn parse(text: &str) -> Result<MasterSecrets, String> {
    let secret = |line: &str| match MasterWeakness::of(line) {
        Some(weakness) => Err(weakness.to_string()),
        None => Ok(SecretBytes::new(line.as_bytes().to_vec())),
    };
    let secrets = lines_of_secret(text).map(|(_, line)| secret(line)).collect::<Result<Vec<_>, _>>()?;
    if secrets.is_empty() {
        return Err("is empty; give at least 32 bytes of secret".to_owned());
    }
    Ok(MasterSecrets(secrets))
}

/// The lines that hold a secret, numbered from 1.
pub fn lines_of_secret(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines().map(str::trim_end)).filter(|(_, line)| !line.is_empty())
}

/// What makes a master secret too weak, as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterWeakness {
    /// Too few bytes.
    #[error("is shorter than 32 bytes; make one with: openssl rand -base64 48")]
    Short,
    /// Too few different bytes, or a word that everybody tries.
    #[error("is known to be weak; make one with: openssl rand -base64 48")]
    Known,
}

impl MasterWeakness {
    /// Judges one line; `None` for one that may be used.
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        if line.len() < MIN_BYTES {
            return Some(Self::Short);
        }
        let distinct = line.bytes().collect::<std::collections::BTreeSet<_>>().len();
        let lower = line.to_ascii_lowercase();
        let known = distinct < MIN_DISTINCT || WEAK_WORDS.iter().any(|word| lower.contains(word));
        known.then_some(Self::Known)
    }
}
