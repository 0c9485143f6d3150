//! What an incident would reach, without reaching for it.

use claviger_entity::{KeyName, KeyState, Kid, Usage, VersionNumber};
use claviger_policy::{KeyFacts, Permission, ResourceRef};
use serde::Serialize;

use super::{
    Principal, Target,
    plan::{Asked, affected},
};
use crate::keyring::{
    Snapshot,
    record::{Key, KeyRecord},
};

/// Principals that are listed at most.
const PRINCIPALS_MAX: usize = 1_000;

/// What somebody does with a key.
const fn uses_of(usage: Usage) -> &'static [Permission] {
    match usage {
        Usage::Token => &[
            Permission::TokenIssue,
            Permission::TokenVerify,
            Permission::TokenRefresh,
            Permission::TokenIssueCredential,
            Permission::KeyExport,
        ],
        Usage::Sign => &[Permission::KeySign, Permission::KeyVerify, Permission::KeyExport],
        Usage::Encrypt => &[
            Permission::KeyEncrypt,
            Permission::KeyDecrypt,
            Permission::KeyRewrap,
            Permission::KeyDatakey,
            Permission::KeyExport,
        ],
        Usage::Mac => &[Permission::KeyHmac, Permission::KeyVerify, Permission::KeyExport],
    }
}

/// What would be reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Blast {
    /// Versions of keys that would be compromised.
    pub versions: Vec<BlastVersion>,
    /// Refresh tokens that could still be used; the access tokens that are out are kept nowhere.
    pub refresh_tokens: u64,
    /// API keys that use what would be reached, with what they may do; at most 1,000.
    pub principals: Vec<Grant>,
    /// Stored rows that are sealed under one of the versions.
    pub stored_rows: u64,
    /// API keys that the principal has made.
    pub dependents: Vec<String>,
}

/// A version that would be compromised.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct BlastVersion {
    /// The key.
    pub key: KeyName,
    /// The version.
    pub version: VersionNumber,
    /// Its identifier.
    pub kid: Kid,
    /// Its state now.
    pub state: KeyState,
    /// The version that would take its place; null = none is needed, or a new one would be made.
    pub standby: Option<VersionNumber>,
}

/// What a principal may do.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What it may do to one of the keys, or at all where it is the principal itself.
    pub permissions: Vec<&'static str>,
}

impl Blast {
    /// As far as the snapshot says; what the database must be asked about is left empty.
    #[must_use]
    pub fn new(snapshot: &Snapshot, asked: &Asked, keys: &[&Key]) -> Self {
        let versions = keys.iter().flat_map(|key| {
            affected(key, asked).map(|version| BlastVersion {
                key: key.record.name.clone(),
                version: version.version,
                kid: version.kid.clone(),
                state: version.state,
                standby: (version.state == KeyState::Active)
                    .then(|| key.standby().map(|standby| standby.version))
                    .flatten(),
            })
        });
        Self {
            versions: versions.collect(),
            principals: principals(snapshot, &asked.target, keys),
            ..Self::default()
        }
    }
}

fn principals(snapshot: &Snapshot, target: &Target, keys: &[&Key]) -> Vec<Grant> {
    let engine = snapshot.access().engine();
    let may = |record: &crate::access::PrincipalRecord| -> Vec<&'static str> {
        let principal = record.as_policy_ref();
        let on_a_key = |permission: Permission| {
            keys.iter().any(|key| {
                uses_of(key.record.usage).contains(&permission)
                    && engine.permits(&principal, permission, &ResourceRef::Key(facts(&key.record)))
            })
        };
        let is_itself =
            matches!(target, Target::Principal(text) if Principal::of(text) == Principal::ApiKey(record.id));
        let all = Permission::ALL.iter().copied().filter(|one| is_itself && engine.might(&principal, *one));
        let uses = Permission::ALL.iter().copied().filter(|one| !is_itself && on_a_key(*one));
        all.chain(uses).map(Permission::as_str).collect()
    };
    let all = snapshot.access().api_keys_after(None);
    let grants = all.filter_map(|principal| {
        let record = &principal.record;
        let permissions = may(record);
        (!permissions.is_empty()).then(|| Grant {
            id: record.id.simple().to_string(),
            name: record.name.as_str().to_owned(),
            roles: record.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            permissions,
        })
    });
    grants.take(PRINCIPALS_MAX).collect()
}

/// What policies may ask about a key.
const fn facts(key: &KeyRecord) -> KeyFacts<'_> {
    KeyFacts {
        name: &key.name,
        key_type: key.key_type,
        usage: key.usage,
        tier: key.tier,
        labels: &key.labels,
    }
}
