//! The service's own keys. They live in the ring like all others, sealed and authenticated, and are on no route.

use claviger_entity::{
    HumanDuration, KeyName, KeyType, RotationPolicy, Tier, Usage, domain::claims::ClaimRules,
};
use uuid::Uuid;
use zeroize::Zeroize as _;

use super::{core::CreateKey, snapshot::Snapshot};

/// Hashes bearer tokens and legacy ids, so that the database holds neither.
const TOKEN_HASH: &str = "token-hash";

/// Signs the checkpoints of audit logs.
const AUDIT: &str = "audit";
/// Days after which the audit key is replaced.
const AUDIT_PERIOD_DAYS: u64 = 365;

/// What the internal keys are made from.
pub(crate) fn specs() -> [CreateKey; 2] {
    let token_hash = plain(KeyName::internal(TOKEN_HASH), KeyType::HmacSha256);
    let rotation = RotationPolicy {
        every: Some(HumanDuration::from_days(AUDIT_PERIOD_DAYS)),
        ..RotationPolicy::default()
    };
    [
        CreateKey { tier: Some(Tier::Master), ..token_hash },
        CreateKey { usage: Some(Usage::Sign), rotation, ..plain(audit(), KeyType::Eddsa) },
    ]
}

/// Name of the key that signs audit logs.
pub(super) fn audit() -> KeyName {
    KeyName::internal(AUDIT)
}

/// The key keeps its first version: what it has hashed can't be hashed anew.
pub(crate) fn is_fixed(name: &KeyName, key_type: KeyType) -> bool {
    name.is_internal() && !key_type.is_asymmetric()
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

/// Keyed hash of a device token; `None` when the hashing key is quarantined.
#[must_use]
pub fn device_token_hash(snapshot: &Snapshot, token: &[u8]) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"device token v1:", token)
}

/// Keyed hash of an id that a replaced system used.
#[must_use]
pub fn alias_hash(snapshot: &Snapshot, id: &[u8]) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"kid alias v1:", id)
}

/// Keyed hash of a refresh token.
pub(crate) fn refresh_hash(snapshot: &Snapshot, token: &[u8]) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"refresh token v1:", token)
}

/// Keyed hash of what stands for a request: requests hold secrets, and who reads the database must not be able to try some.
#[must_use]
pub fn request_hash(snapshot: &Snapshot, digest: &[u8; 32]) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"retried request v1:", digest)
}

/// The secret under which it is sealed what subscribers are told of a revocation.
pub(crate) fn telling_secret(snapshot: &Snapshot) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"revocation tellings v1:", &[])
}

/// The secret under which revoked things are marked.
pub(crate) fn mark_secret(snapshot: &Snapshot) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"revocation marks v1:", &[])
}

/// The secret under which addresses go by other names in Redis.
pub(crate) fn address_secret(snapshot: &Snapshot) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"addresses of attempts v1:", &[])
}

/// Keyed hash of a value that audit records show in place of the value.
pub(super) fn audit_hash(snapshot: &Snapshot, value: &[u8]) -> Option<[u8; 32]> {
    keyed_hash(snapshot, b"audit value v1:", value)
}

/// Shows to a node that another one of this deployment uses its changes up to an epoch. One that is sent again says what is still true.
pub(crate) fn acknowledgement(snapshot: &Snapshot, to: &str, by: &str, epoch: u64) -> Option<[u8; 32]> {
    let input = [to.as_bytes(), &[0], by.as_bytes(), &[0], &epoch.to_be_bytes()].concat();
    keyed_hash(snapshot, b"acknowledgement v1:", &input)
}

fn keyed_hash(snapshot: &Snapshot, domain: &[u8], input: &[u8]) -> Option<[u8; 32]> {
    let made = || snapshot.primary(&KeyName::internal(TOKEN_HASH)).ok().map(|usable| usable.material);
    let key = snapshot.hasher.get_or_init(made).as_ref()?;
    // What is hashed for each request fits, so that nothing is allocated for it.
    let mut short = [0; 160];
    let (start, rest) = short.split_at_mut_checked(domain.len())?;
    let hash = match rest.get_mut(..input.len()) {
        Some(place) => {
            start.copy_from_slice(domain);
            place.copy_from_slice(input);
            let length = domain.len() + input.len();
            key.sign(short.get(..length)?)
        }
        None => key.sign(&[domain, input].concat()),
    };
    short.zeroize();
    hash.ok()?.try_into().ok()
}
