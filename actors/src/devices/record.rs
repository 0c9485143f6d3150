//! Devices as plain data.

use std::collections::{BTreeMap, BTreeSet};

use claviger_entity::{DeviceId, DeviceRole, RoleName, Scope};
use claviger_policy::PrincipalRef;
use serde::{Deserialize, Serialize};

use crate::{keyring::record::Time, session::scopes::Scopes};

/// Longest of the facts that a client states about itself, in bytes; what is longer is cut.
const FACT_MAX_BYTES: usize = 128;

/// A device that was approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Identity; see [`device_id`].
    pub id: DeviceId,
    /// Raw Ed25519 public key.
    pub public_key: [u8; 32],
    /// What it said of itself when it was approved last. Nobody has checked it.
    pub client: ClientFacts,
    /// What it was given, by role.
    pub grants: BTreeMap<DeviceRole, Grant>,
    /// First approval.
    pub created_at: Time,
    /// Last change.
    pub updated_at: Time,
}

/// What a client says of itself: for people to recognise it by, never to decide by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFacts {
    id: String,
    version: String,
    platform: String,
    device_family: Option<String>,
    mode: String,
}

/// What a device was given for one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// How far its sessions reach.
    pub scopes: BTreeSet<Scope>,
    /// Roles that policies give a meaning; they count when the device calls by its own token.
    pub roles: Vec<RoleName>,
    /// Last approval.
    pub approved_at: Time,
    /// Whose it was.
    pub approved_by: String,
    /// Its token.
    pub token: DeviceToken,
}

/// Where a device's token is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum DeviceToken {
    /// The device gets it when it connects next.
    Awaited,
    /// It was handed out.
    Issued {
        /// Keyed hash; the token itself is kept nowhere.
        #[serde(with = "hash")]
        hash: [u8; 32],
        /// When.
        created_at: Time,
    },
    /// It is not accepted, and none is handed out, until an operator rotates it.
    Revoked {
        /// Since when.
        revoked_at: Time,
    },
}

/// A device that asks for a change; it must still be accepted when the change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActingDevice {
    /// Which.
    pub id: DeviceId,
    /// As what it is connected.
    pub role: DeviceRole,
    /// Keyed hash of the token that it presented, unless it came by another credential.
    pub token: Option<[u8; 32]>,
}

impl Device {
    /// As policies see it when it calls by its own token.
    #[must_use]
    pub fn as_policy_ref(&self, role: DeviceRole) -> PrincipalRef<'_> {
        let roles: &[RoleName] = self.grants.get(&role).map_or(&[], |grant| grant.roles.as_slice());
        PrincipalRef::Device { id: self.id, roles }
    }
}

impl Grant {
    /// How far it reaches, with the lesser scopes that greater ones have.
    #[must_use]
    pub fn approved(&self) -> Scopes {
        self.scopes.iter().copied().collect::<Scopes>().with_lesser()
    }

    /// Keyed hash of the token that is accepted.
    #[must_use]
    pub const fn token_hash(&self) -> Option<&[u8; 32]> {
        match &self.token {
            DeviceToken::Issued { hash, .. } => Some(hash),
            DeviceToken::Awaited | DeviceToken::Revoked { .. } => None,
        }
    }
}

impl ClientFacts {
    /// From what a client stated, whatever that is: without control characters, and cut.
    #[must_use]
    pub fn new(id: &str, version: &str, platform: &str, device_family: Option<&str>, mode: &str) -> Self {
        Self {
            id: harmless(id),
            version: harmless(version),
            platform: harmless(platform),
            device_family: device_family.map(harmless),
            mode: harmless(mode),
        }
    }

    /// Name of the program.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it runs on.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// Which kind of device that is.
    #[must_use]
    pub fn device_family(&self) -> Option<&str> {
        self.device_family.as_deref()
    }

    /// `ui`, `cli` and so on.
    #[must_use]
    pub fn mode(&self) -> &str {
        &self.mode
    }
}

/// What may be shown to an operator: nothing that moves a cursor, and nothing endless.
fn harmless(text: &str) -> String {
    let mut kept = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control() && !is_invisible(*letter)) {
        if kept.len() + letter.len_utf8() > FACT_MAX_BYTES {
            break;
        }
        kept.push(letter);
    }
    kept
}

/// Marks that change the direction or the order of what is read.
const fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A hash as base64.
mod hash {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        bytes.try_into().map_err(|_| D::Error::custom("a hash has 32 bytes"))
    }
}
