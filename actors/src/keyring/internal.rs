//! The service's own keys. They live in the ring like all others, sealed and authenticated, and are on no route.

use claviger_crypto::prepared::PreparedKey;
use claviger_entity::{KeyName, KeyType, RotationPolicy, Tier, domain::claims::ClaimRules};
use uuid::Uuid;

use super::{core::CreateKey, snapshot::Snapshot};

/// Hashes bearer tokens and legacy ids, so that the database holds neither.
const TOKEN_HASH: &str = "token-hash";

pub(super) fn names() -> [KeyName; 1] {
    [KeyName::internal(TOKEN_HASH)]
}

/// What an internal key is made from.
pub(super) fn spec(name: KeyName) -> CreateKey {
    CreateKey { tier: Some(Tier::Master), ..plain(name, KeyType::HmacSha256) }
}

/// A key with nothing but defaults.
pub(crate) fn plain(name: KeyName, key_type: KeyType) -> CreateKey {
    CreateKey {
        id: Uuid::now_v7(),
        name,
        key_type,
        usage: None,
        bits: None,
        tier: None,
        description: None,
        rotation: RotationPolicy::default(),
        claims: ClaimRules::default(),
        temporary: None,
        exportable: false,
        deletion_allowed: false,
        labels: std::collections::BTreeMap::new(),
    }
}

/// Keyed hash of a bearer token; `None` when the hashing key is quarantined.
#[must_use]
pub fn token_hash(snapshot: &Snapshot, token: &[u8]) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"token v1:", token)
}

/// Keyed hash of an id that a replaced system used.
#[must_use]
pub fn alias_hash(snapshot: &Snapshot, id: &[u8]) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"kid alias v1:", id)
}

/// Shows to a node that another one of this deployment uses its changes up to an epoch. One that is sent again says what is still true.
pub(crate) fn acknowledgement(snapshot: &Snapshot, to: &str, by: &str, epoch: u64) -> Option<[u8; 32]> {
    let input = [to.as_bytes(), &[0], by.as_bytes(), &[0], &epoch.to_be_bytes()].concat();
    keyed_hash(snapshot, b"acknowledgement v1:", &input)
}

fn keyed_hash(snapshot: &Snapshot, domain: &[u8], input: &[u8]) -> Option<[u8; 32]> {
    let usable = snapshot.primary(&KeyName::internal(TOKEN_HASH)).ok()?;
    let key: &PreparedKey = &usable.material;
    key.sign(&[domain, input].concat()).ok()?.try_into().ok()
}
