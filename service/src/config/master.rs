//! Master secrets as operators give them.

use claviger_actors::seal::MasterKeys;
use claviger_crypto::secret::SecretBytes;

/// Shortest master secret.
const MIN_BYTES: usize = 32;
/// Fewest different bytes in one.
const MIN_DISTINCT: usize = 8;
/// Words that nobody's secret should hold.
const WEAK_WORDS: [&str; 4] = ["changeme", "change-me", "change_me", "password"];

/// One secret a line, newest first.
pub(super) fn parse(text: &str) -> Result<MasterKeys, &'static str> {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let secrets = lines.map(judge).collect::<Result<Vec<_>, _>>()?;
    MasterKeys::new(secrets).ok_or("is empty; give at least 32 bytes of secret")
}

fn judge(line: &str) -> Result<SecretBytes, &'static str> {
    if line.len() < MIN_BYTES {
        return Err("is shorter than 32 bytes; make one with: openssl rand -base64 48");
    }
    let distinct = line.bytes().collect::<std::collections::BTreeSet<_>>().len();
    let lower = line.to_ascii_lowercase();
    if distinct < MIN_DISTINCT || WEAK_WORDS.iter().any(|word| lower.contains(word)) {
        return Err("is known to be weak; make one with: openssl rand -base64 48");
    }
    Ok(SecretBytes::new(line.as_bytes().to_vec()))
}
