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
pub(crate) fn parse(text: &str) -> Result<MasterSecrets, &'static str> {
    let secret = |line: &str| match weakness(line) {
        Some(rule) => Err(rule),
        None => Ok(SecretBytes::new(line.as_bytes().to_vec())),
    };
    let secrets = lines_of_secret(text).map(|(_, line)| secret(line)).collect::<Result<Vec<_>, _>>()?;
    if secrets.is_empty() {
        return Err("is empty; give at least 32 bytes of secret");
    }
    Ok(MasterSecrets(secrets))
}

/// The lines that hold a secret, numbered from 1.
pub fn lines_of_secret(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines().map(str::trim_end)).filter(|(_, line)| !line.is_empty())
}

/// What makes a master secret too weak, as the end of a sentence; `None` for one that may be used.
#[must_use]
pub fn weakness(line: &str) -> Option<&'static str> {
    if line.len() < MIN_BYTES {
        return Some("is shorter than 32 bytes; make one with: openssl rand -base64 48");
    }
    let distinct = line.bytes().collect::<std::collections::BTreeSet<_>>().len();
    let lower = line.to_ascii_lowercase();
    let weak = distinct < MIN_DISTINCT || WEAK_WORDS.iter().any(|word| lower.contains(word));
    weak.then_some("is known to be weak; make one with: openssl rand -base64 48")
}
