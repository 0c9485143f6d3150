//! Names of keys and versions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::InvalidValue;

/// Name of a key: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
///
/// The service's own keys start with `~`, which no caller can write, so that they are on no route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
pub struct KeyName(String);

impl KeyName {
    /// Name of one of the service's own keys.
    #[must_use]
    pub fn internal(name: &'static str) -> Self {
        Self(format!("~{name}"))
    }

    /// Name of the key under which everything is sealed that is stored for others.
    #[must_use]
    pub fn stores() -> Self {
        Self("stores".to_owned())
    }

    /// The service's own key.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.starts_with('~')
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As [`FromStr`], internal names included; for rows read from the database.
    ///
    /// # Errors
    /// The text is no name.
    pub fn from_row(text: &str) -> Result<Self, InvalidValue> {
        let public: Self = text.strip_prefix('~').unwrap_or(text).parse()?;
        Ok(if text.starts_with('~') { Self(text.to_owned()) } else { public })
    }
}

impl FromStr for KeyName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        name("name", text).map(Self)
    }
}

impl<'de> Deserialize<'de> for KeyName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rule that all names keep.
fn name(what: &'static str, text: &str) -> Result<String, InvalidValue> {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.len() <= 128 && bytes.all(rest) {
        Ok(text.to_owned())
    } else {
        Err(InvalidValue {
            what,
            rule: "must be 1-128 of A-Z a-z 0-9 . _ - and start with a letter or digit",
        })
    }
}

/// Declares a name of its own type.
macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident ($what:literal)) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                name($what, text).map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// Name of an API key, for people; the key is known by its id.
    ApiKeyName("name")
}
name_type! {
    /// Name of a role: one that is shipped, or any that a policy gives a meaning.
    RoleName("role")
}
name_type! {
    /// Name of a policy.
    PolicyName("policy name")
}
name_type! {
    /// Name of a stored secret, unique for its owner.
    SecretName("secret name")
}
name_type! {
    /// Name of a provider of third-party tokens.
    ProviderName("provider")
}

/// Identifier of a version (RFC 7515 §4.1.4), unique in the deployment and never reused: `[A-Za-z0-9._~-]{1,128}`.
///
/// It goes into headers and ciphertexts, so it says nothing about the material.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9._~-]{1,128}$")]
pub struct Kid(String);

impl Kid {
    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Kid {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~');
        if !text.is_empty() && text.len() <= 128 && text.bytes().all(allowed) && text != "." && text != ".." {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue { what: "kid", rule: "must be 1-128 of A-Z a-z 0-9 . _ ~ -" })
        }
    }
}

impl<'de> Deserialize<'de> for Kid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number of a version within its key, from 1, without gaps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = u32, minimum = 1)]
pub struct VersionNumber(u32);

impl VersionNumber {
    /// The first version of a key.
    pub const FIRST: Self = Self(1);

    /// A number from outside.
    ///
    /// # Errors
    /// Zero.
    pub const fn new(number: u32) -> Result<Self, InvalidValue> {
        if number == 0 {
            return Err(InvalidValue { what: "version", rule: "must be a whole number from 1" });
        }
        Ok(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl FromStr for VersionNumber {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Self::new(if digits { text.parse().unwrap_or(0) } else { 0 })
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_the_contract() {
        for good in ["a", "0", "orders-2026.v1_x", &"a".repeat(128)] {
            assert!(good.parse::<KeyName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "_a", "~audit", "a/b", "a b", "ä", "a\0", &"a".repeat(129)] {
            assert!(bad.parse::<KeyName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn kids_are_no_paths_and_not_endless() {
        for bad in ["", "..", "../../etc/passwd", "a/b", "a\\b", "a b", "a\n", &"k".repeat(129)] {
            assert!(bad.parse::<Kid>().is_err(), "{bad:?}");
        }
        assert!("D8Nag8KdQlf2B291V1ykSg6LzULsv2rkkLS3PdklYgc".parse::<Kid>().is_ok());
    }

    #[test]
    fn versions_count_from_one() {
        assert!("0".parse::<VersionNumber>().is_err());
        assert!("+1".parse::<VersionNumber>().is_err());
        assert!("4294967296".parse::<VersionNumber>().is_err());
        assert_eq!("7".parse::<VersionNumber>().map(VersionNumber::number), Ok(7));
    }
}
