//! Decisions, remembered.

use claviger_actors::{
    access::PrincipalRecord,
    keyring::{Snapshot, record::KeyRecord},
    stores::Store,
};
use claviger_crypto::digest;
use claviger_entity::{Owner, PolicyName};
use claviger_policy::{KeyFacts, Permission, ResourceRef, Target};
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::Identity;

/// Decisions of a worker that are kept at most; the least used go first.
const REMEMBERED: usize = 20_000;

/// A decision is a pure function of these: what a policy may ask of principal and resource changes only with the revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    revision: u64,
    principal: Uuid,
    permission: Permission,
    resource: Resource,
}

/// What a decision is about. Names and roles of API keys never change, and a change of labels moves the revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Resource {
    Deployment,
    /// Anything at all.
    Any,
    Key(Uuid),
    ApiKey(Uuid),
    Policy(PolicyName),
    /// A hash of store, owner and name: they are as long as callers like.
    Stored([u8; 32]),
}

/// Asks the policies, once a question. Every worker has its own: what all of them write to with every request is dear.
pub struct Authorizer {
    decisions: Cache<Question, bool>,
}

impl Default for Authorizer {
    fn default() -> Self {
        Self { decisions: Cache::new(REMEMBERED) }
    }
}

impl Authorizer {
    /// The caller may do this to the key.
    #[must_use]
    pub fn permits_key(
        &self,
        snapshot: &Snapshot,
        identity: &Identity,
        permission: Permission,
        key: &KeyRecord,
    ) -> bool {
        self.remembered(snapshot, identity, permission, Resource::Key(key.id), &|| {
            self.permits(snapshot, identity, permission, &ResourceRef::Key(facts(key)))
        })
    }

    /// The caller may know that the key exists: it may do something to it.
    #[must_use]
    pub fn sees_key(&self, snapshot: &Snapshot, identity: &Identity, key: &KeyRecord) -> bool {
        Permission::ALL
            .iter()
            .filter(|permission| permission.target() == Target::Key)
            .any(|permission| self.permits_key(snapshot, identity, *permission, key))
    }

    /// The caller may do this to the deployment.
    #[must_use]
    pub fn permits_deployment(
        &self,
        snapshot: &Snapshot,
        identity: &Identity,
        permission: Permission,
    ) -> bool {
        self.remembered(snapshot, identity, permission, Resource::Deployment, &|| {
            self.permits(snapshot, identity, permission, &ResourceRef::Deployment)
        })
    }

    /// The caller may do this to the API key.
    #[must_use]
    pub fn permits_api_key(
        &self,
        snapshot: &Snapshot,
        identity: &Identity,
        permission: Permission,
        record: &PrincipalRecord,
    ) -> bool {
        let resource = ResourceRef::ApiKey { id: record.id, name: &record.name, roles: &record.roles };
        self.remembered(snapshot, identity, permission, Resource::ApiKey(record.id), &|| {
            self.permits(snapshot, identity, permission, &resource)
        })
    }

    /// The caller may do this to the policy of this name, which need not exist.
    #[must_use]
    pub fn permits_policy(
        &self,
        snapshot: &Snapshot,
        identity: &Identity,
        permission: Permission,
        name: &PolicyName,
    ) -> bool {
        let resource = ResourceRef::Policy(name);
        self.remembered(snapshot, identity, permission, Resource::Policy(name.clone()), &|| {
            self.permits(snapshot, identity, permission, &resource)
        })
    }

    /// The caller may do this to what is stored at a place, which need not exist.
    #[must_use]
    pub fn permits_stored(
        &self,
        snapshot: &Snapshot,
        identity: &Identity,
        permission: Permission,
        (store, owner, name): (Store, &Owner, &str),
    ) -> bool {
        // No control character is in any of them.
        let parts = [store.as_str(), owner.as_str(), name].join("\0");
        let resource = match store {
            Store::Secrets => ResourceRef::Secret { owner, name },
            Store::AuthTokens => ResourceRef::AuthToken { owner, provider: name },
            Store::OfflineTokens => ResourceRef::OfflineToken { owner },
        };
        let asked = Resource::Stored(digest::sha256(parts.as_bytes()));
        self.remembered(snapshot, identity, permission, asked, &|| {
            self.permits(snapshot, identity, permission, &resource)
        })
    }

    /// As asked, without remembering: for what is not there yet.
    #[must_use]
    pub fn permits(
        &self,
        snapshot: &Snapshot,
        identity: &Identity,
        permission: Permission,
        resource: &ResourceRef<'_>,
    ) -> bool {
        snapshot.access().engine().permits(&identity.as_policy_ref(), permission, resource)
    }

    /// There may be something to which the caller may do this.
    #[must_use]
    pub fn might(&self, snapshot: &Snapshot, identity: &Identity, permission: Permission) -> bool {
        self.remembered(snapshot, identity, permission, Resource::Any, &|| {
            snapshot.access().engine().might(&identity.as_policy_ref(), permission)
        })
    }

    fn remembered(
        &self,
        snapshot: &Snapshot,
        identity: &Identity,
        permission: Permission,
        resource: Resource,
        decide: &dyn Fn() -> bool,
    ) -> bool {
        let revision = snapshot.access_revision();
        let question = Question { revision, principal: identity.id(), permission, resource };
        if let Some(decision) = self.decisions.get(&question) {
            return decision;
        }
        let decision = decide();
        self.decisions.insert(question, decision);
        decision
    }
}

/// What policies may ask about a key.
#[must_use]
pub fn facts(key: &KeyRecord) -> KeyFacts<'_> {
    KeyFacts {
        name: &key.name,
        key_type: key.key_type,
        usage: key.usage,
        tier: key.tier,
        labels: &key.labels,
    }
}
