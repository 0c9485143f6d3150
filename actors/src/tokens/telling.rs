//! What subscribers are told of a revocation. It stands beside the revocation, sealed, since its mark tells nobody whose tokens it is about.

use claviger_crypto::{aead, secret::SecretBytes};
use serde::{Deserialize, Serialize};

use super::mark::{Kind, Mark};
use crate::keyring::{Snapshot, internal};

/// The payload of `token.revoked`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    /// One token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// All tokens of a `sub` until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// All that has come of one issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// All tokens made with a version of a key until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// All families of this key until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Nothing of it can be refreshed: whoever holds it has to sign in again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reauthenticate: bool,
}

impl Telling {
    /// Of what was revoked.
    #[must_use]
    pub fn new(kind: Kind, value: &str) -> Self {
        let value = Some(value.to_owned());
        match kind {
            Kind::Token => Self { jti: value, ..Self::default() },
            Kind::Family => Self { family: value, reauthenticate: true, ..Self::default() },
            Kind::Subject => Self { subject: value, reauthenticate: true, ..Self::default() },
            Kind::Version => Self { kid: value, ..Self::default() },
            Kind::Families => Self { key: value, reauthenticate: true, ..Self::default() },
        }
    }

    /// For the column; `None` when the key for it is quarantined.
    pub(super) fn seal(&self, snapshot: &Snapshot, mark: Mark) -> Option<Vec<u8>> {
        let key = SecretBytes::from(internal::telling_secret(snapshot)?.to_vec());
        aead::seal(&key, mark.as_bytes(), &serde_json::to_vec(self).ok()?).ok()
    }

    /// From the column, unless somebody has put it there.
    pub(super) fn open(snapshot: &Snapshot, mark: Mark, sealed: &[u8]) -> Option<Self> {
        let key = SecretBytes::from(internal::telling_secret(snapshot)?.to_vec());
        serde_json::from_slice(aead::open(&key, mark.as_bytes(), sealed).ok()?.expose()).ok()
    }
}
