//! What the ring does for the audit log: it holds the key that signs, and knows the database.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::jwk;
use claviger_entity::KeyState;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{KeyRingHandle, internal, record::Time, snapshot::Snapshot};
use crate::{
    audit::{
        about::Anchor,
        keeper::Shelf,
        signed::{Signer, Signing},
    },
    store::{Before, EventFilter, EventRow, NodeAnchor, Starting, StoreError},
};

/// A version of the audit key, without its private half.
#[derive(Debug, Clone, Serialize)]
pub struct AuditKey {
    /// The public half as a JWK (RFC 8037).
    #[serde(flatten)]
    pub jwk: Value,
    /// State. What one that is not active has signed still holds, unless it is compromised.
    pub state: KeyState,
    /// When it began to sign.
    pub activated_at: Option<Time>,
    /// When it ended.
    pub deactivated_at: Option<Time>,
}

impl Snapshot {
    /// The audit key as it is now; `None` while it is quarantined.
    #[must_use]
    pub fn audit_signing(&self) -> Option<Signing> {
        self.signing.get_or_init(|| self.make_signing()).clone()
    }

    fn make_signing(&self) -> Option<Signing> {
        let usable = self.primary(&internal::audit()).ok()?;
        let spki = usable.version.public_spki.as_deref()?;
        let kid = &usable.version.kid;
        Some(Signing {
            kid: kid.as_str().into(),
            jwk: Arc::new(jwk::public_jwk(usable.key.record.key_type, spki, kid).ok()?),
            key: usable.material,
            epoch: self.epoch.0,
        })
    }

    /// Every version of the audit key that there has been, newest first: logs are kept for longer than keys.
    #[must_use]
    pub fn audit_keys(&self) -> Vec<AuditKey> {
        let Ok(key) = self.ring().key(&internal::audit()) else { return Vec::new() };
        let versions = key.versions.values().rev();
        let shown = versions.filter_map(|version| {
            let spki = version.public_spki.as_deref()?;
            Some(AuditKey {
                jwk: jwk::public_jwk(key.record.key_type, spki, &version.kid).ok()?,
                state: version.state,
                activated_at: version.activated_at,
                deactivated_at: version.deactivated_at,
            })
        });
        shown.collect()
    }

    /// What audit records show in place of a value that is nobody's business, such as the subject of a token; `None` while the hashing
    /// key is quarantined.
    #[must_use]
    pub fn audit_hash(&self, value: &str) -> Option<String> {
        let hash = internal::audit_hash(self, value.as_bytes())?;
        Some(format!("hmac-sha256:{}", URL_SAFE_NO_PAD.encode(hash)))
    }
}

impl Signer for KeyRingHandle {
    fn signing(&self) -> Option<Signing> {
        self.snapshot().audit_signing()
    }
}

#[async_trait]
impl Shelf for KeyRingHandle {
    async fn add_events(&self, events: &[EventRow]) -> Result<(), StoreError> {
        self.database().add_events(events).await
    }

    async fn forget_events(&self, before: Time) -> Result<u64, StoreError> {
        self.database().forget_events(before).await
    }

    async fn anchor(&self, chain: Uuid) -> Result<Option<Anchor>, StoreError> {
        self.database().anchor(self.snapshot().keychain(), chain).await
    }

    async fn put_anchor(&self, node: &str, anchor: &Anchor) -> Result<(), StoreError> {
        self.database().put_anchor(self.snapshot().keychain(), node, anchor).await
    }
}

impl KeyRingHandle {
    /// Events of all nodes, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit_events(
        &self,
        filter: &EventFilter,
        cursor: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.database().events(filter, cursor, limit).await
    }

    /// What a node was last started with, by its audit log or else by its name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settings_before(&self, chain: Option<Uuid>, node: &str) -> Result<Before, StoreError> {
        self.database().settings_before(self.snapshot().keychain(), chain, node).await
    }

    /// Keeps what a node is started with, together with the events of its start.
    ///
    /// # Errors
    /// The database failed; nothing is kept.
    pub async fn keep_settings(&self, starting: Starting<'_>, events: &[EventRow]) -> Result<(), StoreError> {
        self.database().keep_settings(self.snapshot().keychain(), starting, events).await
    }

    /// The last checkpoint of every node's log that the database knows.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit_anchors(&self) -> Result<Vec<NodeAnchor>, StoreError> {
        self.database().audit_anchors(self.snapshot().keychain()).await
    }
}
