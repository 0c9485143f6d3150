//! Access at one moment, cheap to clone.

use std::{collections::BTreeMap, sync::Arc};

use claviger_entity::PolicyName;
use claviger_policy::Engine;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use uuid::Uuid;

use super::{PolicyRecord, Principal, PrincipalRecord};
use crate::keyring::record::Time;

/// Every policy there should be: kept in an authenticated row, so that a policy can't be taken out of the database, or an old one put
/// back, unnoticed.
pub type Manifest = BTreeMap<String, Expected>;

/// A policy as it should be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Expected {
    /// It forbids something, so that its loss would give rights back.
    pub forbids: bool,
    /// Its revision.
    pub revision: u64,
}

/// Principals and policies.
#[derive(Clone)]
pub struct Access {
    principals: RedBlackTreeMapSync<Uuid, Arc<Principal>>,
    tokens: HashTrieMapSync<[u8; 32], Uuid>,
    policies: Arc<BTreeMap<PolicyName, Arc<PolicyRecord>>>,
    manifest: Arc<Manifest>,
    /// Policies that are sound but not as the manifest has them.
    strays: Arc<[PolicyName]>,
    stray_forbids: bool,
    engine: Arc<Engine>,
}

impl Access {
    /// From what was loaded. A policy that the manifest names and that is not there is missed; if it forbade anything, only
    /// administrators are let in until it is back. The same goes for one that forbids and that the manifest does not know: somebody
    /// took it out of there.
    #[must_use]
    pub fn new(principals: Vec<Principal>, policies: Vec<PolicyRecord>, manifest: Manifest) -> Self {
        let is_expected = |policy: &PolicyRecord| {
            manifest.get(policy.name.as_str()).is_some_and(|expected| expected.revision == policy.revision)
        };
        let (policies, strays): (Vec<_>, Vec<_>) = policies.into_iter().partition(is_expected);
        let policies = policies.into_iter().map(|policy| (policy.name.clone(), Arc::new(policy))).collect();
        let stray_forbids = strays.iter().any(|policy| policy.document.forbids());
        let mut access = Self {
            principals: RedBlackTreeMapSync::default(),
            tokens: HashTrieMapSync::default(),
            engine: engine(&policies, &manifest, stray_forbids),
            strays: strays.into_iter().map(|policy| policy.name).collect(),
            stray_forbids,
            policies: Arc::new(policies),
            manifest: Arc::new(manifest),
        };
        for principal in principals {
            access.index(Arc::new(principal));
        }
        access
    }

    /// Who holds the token of this keyed hash, if it may call now, and until when that token is accepted beside a newer one.
    #[must_use]
    pub fn holder(&self, token_hash: &[u8; 32], now: Time) -> Option<(&Arc<Principal>, Option<Time>)> {
        let principal = self.principals.get(self.tokens.get(token_hash)?)?;
        let record = &principal.record;
        let previous = record.previous.as_ref().filter(|previous| previous.hash == *token_hash);
        let until = previous.map(|previous| previous.until);
        let is_current = record.token_hash == *token_hash || until.is_some_and(|until| now < until);
        (is_current && record.is_live(now)).then_some((principal, until))
    }

    /// An API key that is not deleted.
    #[must_use]
    pub fn api_key(&self, id: Uuid) -> Option<&Arc<Principal>> {
        self.principals.get(&id).filter(|principal| principal.record.disabled_at.is_none())
    }

    /// API keys that are not deleted and whose ids come after `after`, in order of creation.
    pub fn api_keys_after(&self, after: Option<Uuid>) -> impl Iterator<Item = &Arc<Principal>> {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.principals
            .range((start, Bound::Unbounded))
            .map(|(_, principal)| principal)
            .filter(|principal| principal.record.disabled_at.is_none())
    }

    /// A policy.
    #[must_use]
    pub fn policy(&self, name: &PolicyName) -> Option<&Arc<PolicyRecord>> {
        self.policies.get(name)
    }

    /// Policies whose names come after `after`, in order.
    pub fn policies_after(&self, after: Option<&PolicyName>) -> impl Iterator<Item = &Arc<PolicyRecord>> {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.policies.range::<PolicyName, _>((start, Bound::Unbounded)).map(|(_, policy)| policy)
    }

    /// What decides.
    #[must_use]
    pub const fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The policies that should be there.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Policies that should be there and are not.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let there = |name: &str| self.policies.keys().any(|policy| policy.as_str() == name);
        self.manifest.keys().map(String::as_str).filter(move |name| !there(name))
    }

    /// Policies that are there and should not be, or should be of another revision.
    #[must_use]
    pub fn strays(&self) -> &[PolicyName] {
        &self.strays
    }

    pub(crate) fn principals(&self) -> impl Iterator<Item = &Arc<Principal>> {
        self.principals.values()
    }

    /// With one principal new or changed.
    #[must_use]
    pub(crate) fn with_principal(&self, record: PrincipalRecord) -> Self {
        let mut next = self.clone();
        let principal = match self.principals.get(&record.id) {
            Some(before) => {
                next.tokens.remove_mut(&before.record.token_hash);
                if let Some(previous) = &before.record.previous {
                    next.tokens.remove_mut(&previous.hash);
                }
                before.with(record)
            }
            None => Principal::new(record, None),
        };
        next.index(Arc::new(principal));
        next
    }

    /// With one policy written or, without a record, gone.
    #[must_use]
    pub(crate) fn with_policy(
        &self,
        name: &PolicyName,
        record: Option<PolicyRecord>,
        manifest: Manifest,
    ) -> Self {
        let mut policies = BTreeMap::clone(&self.policies);
        match record {
            Some(record) => drop(policies.insert(name.clone(), Arc::new(record))),
            None => drop(policies.remove(name)),
        }
        // Whoever writes a policy or removes it has settled what became of its row.
        let strays: Arc<[PolicyName]> = self.strays.iter().filter(|stray| *stray != name).cloned().collect();
        let stray_forbids = self.stray_forbids && !strays.is_empty();
        let engine = engine(&policies, &manifest, stray_forbids);
        Self {
            policies: Arc::new(policies),
            manifest: Arc::new(manifest),
            strays,
            stray_forbids,
            engine,
            ..self.clone()
        }
    }

    fn index(&mut self, principal: Arc<Principal>) {
        let record = &principal.record;
        if record.disabled_at.is_none() {
            self.tokens.insert_mut(record.token_hash, record.id);
            if let Some(previous) = &record.previous {
                self.tokens.insert_mut(previous.hash, record.id);
            }
        }
        self.principals.insert_mut(record.id, principal);
    }
}

fn engine(
    policies: &BTreeMap<PolicyName, Arc<PolicyRecord>>,
    manifest: &Manifest,
    stray_forbids: bool,
) -> Arc<Engine> {
    let there: std::collections::BTreeSet<&str> = policies.keys().map(PolicyName::as_str).collect();
    let is_lost = |(name, expected): (&String, &Expected)| expected.forbids && !there.contains(name.as_str());
    let damaged = stray_forbids || manifest.iter().any(is_lost);
    Arc::new(Engine::new(policies.values().map(|policy| &policy.document), damaged))
}
