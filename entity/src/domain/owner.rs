//! Whose something is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::InvalidValue;

/// Longest owner, in characters.
const CHARS_MAX: usize = 255;

/// The owner of a secret or the user of a token: 1 to 255 characters, as some other system writes them.
///
/// Two owners are one only if they are the same, byte for byte: no letter case and no normal form of Unicode is folded, so that nobody
/// becomes somebody else by another spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 255)]
pub struct Owner(String);

impl Owner {
    /// The owner as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        // Four bytes a character: what is longer need not be counted.
        let fits = !text.is_empty() && text.len() <= 4 * CHARS_MAX && text.chars().count() <= CHARS_MAX;
        if fits && !matches!(text, "." | "..") && !text.contains(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue {
                what: "owner",
                rule: "or user must be 1-255 characters without control characters, and neither . nor ..",
            })
        }
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_judged_by_the_contract() {
        for good in ["a", "...", "a/b", "a b", "ä", "auth0|5f7c", "x:batch", "%2e", &"ü".repeat(255)] {
            assert!(good.parse::<Owner>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a\0", "a\n", "\u{85}", "\u{7f}", &"a".repeat(256), &"ü".repeat(256)] {
            assert!(bad.parse::<Owner>().is_err(), "{bad:?}");
        }
    }
}
