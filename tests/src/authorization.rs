//! What a decision costs, without a network around it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use claviger::auth::{Authorizer, Identity};
use claviger_actors::{
    access::{Access, Expected, Manifest, PolicyRecord, Principal, PrincipalRecord},
    keyring::{
        Epoch, Position, Snapshot,
        core::Ring,
        record::{Key, KeyRecord},
    },
    seal::{Keychain, MasterKeys},
};
use claviger_crypto::secret::SecretBytes;
use claviger_entity::{KeyType, PolicyName};
use claviger_policy::{Permission, PolicyDocument};
use uuid::Uuid;

use crate::{node::MASTER, seed};

/// Whom the policies are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A role of its own each, as deployments write them.
    Roles,
    /// Anybody, so that every one of them takes part in every decision: the worst there is.
    Anybody,
}

/// A ring with keys and policies, and somebody who asks.
pub struct World {
    snapshot: Snapshot,
    keys: Vec<KeyRecord>,
    identity: Identity,
}

impl World {
    /// A world of so many keys and policies. The one who asks is permitted by the last policy.
    #[must_use]
    pub fn new(keys: usize, policies: usize, about: About) -> Self {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let records: Vec<KeyRecord> = (0..keys)
            .map(|index| {
                seed::key(Uuid::now_v7(), format!("key-{index}").parse().unwrap(), KeyType::Aes256Gcm, now)
            })
            .collect();
        let ring = records.iter().map(|record| Key { record: record.clone(), versions: Default::default() });
        let policies: Vec<PolicyRecord> = (0..policies).map(|index| policy(index, about, now)).collect();
        let manifest: Manifest = policies
            .iter()
            .map(|policy| {
                (policy.name.as_str().to_owned(), Expected { forbids: false, revision: policy.revision })
            })
            .collect();
        let principal = PrincipalRecord {
            id: Uuid::now_v7(),
            name: "asker".parse().unwrap(),
            token_hash: [0; 32],
            previous: None,
            roles: vec![format!("role-{}", policies.len() - 1).parse().unwrap()],
            created_at: now,
            expires_at: None,
            disabled_at: None,
        };
        let principal = Arc::new(Principal::new(principal, None));
        let access = Access::new(Vec::new(), policies, manifest);
        let snapshot = Snapshot::new(
            Position { epoch: Epoch::new(1, 1), head: [0; 32] },
            Ring::new(ring, Vec::new()),
            access,
            keychain(),
        );
        Self { snapshot, keys: records, identity: Identity::ApiKey { principal, until: None } }
    }

    /// Time of a decision that nobody has asked for before: the mean over all keys.
    #[must_use]
    pub fn cold(&self, authorizer: &Authorizer) -> Duration {
        let began = Instant::now();
        for key in &self.keys {
            assert!(authorizer.permits_key(&self.snapshot, &self.identity, Permission::KeyEncrypt, key));
        }
        began.elapsed() / u32::try_from(self.keys.len()).unwrap()
    }

    /// Time of a decision that is remembered: the mean over all keys and so many rounds.
    #[must_use]
    pub fn warm(&self, authorizer: &Authorizer, rounds: u32) -> Duration {
        let _asked = self.cold(authorizer);
        let began = Instant::now();
        for _ in 0..rounds {
            let _again = self.cold(authorizer);
        }
        began.elapsed() / rounds / u32::try_from(self.keys.len()).unwrap()
    }
}

fn policy(index: usize, about: About, now: DateTime<Utc>) -> PolicyRecord {
    let name: PolicyName = format!("policy-{index}").parse().unwrap();
    let scope = match about {
        About::Roles => format!("principal in Claviger::Role::\"role-{index}\""),
        About::Anybody => "principal".to_owned(),
    };
    let text = format!(
        "permit ({scope}, action in Claviger::Action::\"encrypting\", resource)
         when {{ resource.name like \"key-*\" && principal in Claviger::Role::\"role-{index}\" }};"
    );
    let document = PolicyDocument::parse(&name, &text).unwrap();
    PolicyRecord { name, text, document, description: None, created_at: now, updated_at: now, revision: 1 }
}

fn keychain() -> Arc<Keychain> {
    let masters = MasterKeys::new(vec![SecretBytes::new(MASTER.as_bytes().to_vec())]).unwrap();
    let kek = masters.newest(Uuid::nil()).unwrap();
    Arc::new(Keychain::create(&kek, 0).unwrap().0)
}
