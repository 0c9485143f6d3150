//! Devices that keep a session: who they are, what they connect as, and how far.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{InvalidValue, text_enum};

/// Bytes of an identity.
const ID_BYTES: usize = 32;

/// Identity of a device: SHA-256 of its raw Ed25519 public key, 64 hex digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, utoipa::ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
pub struct DeviceId([u8; ID_BYTES]);

impl DeviceId {
    /// From the digest itself.
    #[must_use]
    pub const fn new(digest: [u8; ID_BYTES]) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DeviceId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue { what: "device", rule: "must be 64 hex digits in lower case" };
        let mut digest = [0; ID_BYTES];
        hex::decode_to_slice(text, &mut digest).map_err(|_| invalid())?;
        // One form, so that whoever compares texts is right too.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid());
        }
        Ok(Self(digest))
    }
}

impl Serialize for DeviceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

text_enum! {
    /// What a device connects as. It is paired for each by itself.
    pub enum DeviceRole ("role") {
        /// Somebody, or something, that works with keys.
        Operator = "operator",
        /// A workload that mirrors the public state of keys.
        Node = "node",
    }
}

text_enum! {
    /// A part of what a session may do. Scopes narrow what policies permit; they permit nothing by themselves.
    pub enum Scope ("scope") {
        /// Look at keys and the cluster, verify, hear of events.
        OperatorRead = "operator.read",
        /// Sign, encrypt, decrypt, issue tokens.
        OperatorWrite = "operator.write",
        /// Rotate, revoke, read the audit log, manage device tokens.
        OperatorAdmin = "operator.admin",
        /// Approve, reject and remove devices.
        OperatorPairing = "operator.pairing",
        /// Mirror the public state of keys.
        NodeSync = "node.sync",
    }
}

impl Scope {
    /// The role of a device that it belongs to.
    #[must_use]
    pub const fn role(self) -> DeviceRole {
        match self {
            Self::OperatorRead | Self::OperatorWrite | Self::OperatorAdmin | Self::OperatorPairing => {
                DeviceRole::Operator
            }
            Self::NodeSync => DeviceRole::Node,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_written_as_it_is_read(digest: [u8; 32]) {
            let text = DeviceId::new(digest).to_string();
            prop_assert_eq!(*text.parse::<DeviceId>().unwrap().as_bytes(), digest);
            prop_assert!(text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        }

        #[test]
        fn nothing_else_is_an_id(text in "[0-9a-fA-F]{0,70}|.{0,40}") {
            let is_one = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            prop_assert_eq!(text.parse::<DeviceId>().is_ok(), is_one);
        }
    }

    #[test]
    fn scopes_belong_to_one_role_each() {
        for scope in Scope::ALL {
            assert!(scope.as_str().starts_with(&format!("{}.", scope.role())), "{scope}");
        }
    }
}
