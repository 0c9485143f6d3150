//! Changes of API keys and policies, through the same door as those of keys.

use claviger_crypto::random;
use claviger_entity::{ApiKeyName, HumanDuration, PolicyName, RoleName};
use claviger_policy::PolicyDocument;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    KeyRingHandle,
    actor::{Applied, ChangeContext, RingFailure},
    internal,
    record::Time,
    snapshot::Snapshot,
};
use crate::{
    access::{ApiKeyCommand, ApiKeySubject, NewSecret, PolicyCommand, PolicySubject},
    store::StoreError,
};

/// Random bytes of an API key's secret.
const SECRET_BYTES: usize = 32;

impl KeyRingHandle {
    /// A new API key; the answer has its secret.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn create_api_key(
        &self,
        context: ChangeContext,
        name: ApiKeyName,
        roles: Vec<RoleName>,
        expires_at: Option<Time>,
    ) -> Result<Applied<ApiKeySubject>, RingFailure> {
        let id = Uuid::now_v7();
        let secret = new_secret(&self.snapshot(), id)?;
        self.apply(context, ApiKeyCommand::Create { id, name, roles, expires_at, secret }).await
    }

    /// A new secret for an API key; the old one is accepted for `overlap` longer.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn rotate_api_key(
        &self,
        context: ChangeContext,
        id: Uuid,
        overlap: HumanDuration,
    ) -> Result<Applied<ApiKeySubject>, RingFailure> {
        let secret = new_secret(&self.snapshot(), id)?;
        self.apply(context, ApiKeyCommand::Rotate { id, overlap, secret }).await
    }

    /// An API key is not accepted any more.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn delete_api_key(
        &self,
        context: ChangeContext,
        id: Uuid,
    ) -> Result<Applied<ApiKeySubject>, RingFailure> {
        self.apply(context, ApiKeyCommand::Delete { id }).await
    }

    /// Writes a policy.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn put_policy(
        &self,
        context: ChangeContext,
        name: PolicyName,
        text: String,
        document: PolicyDocument,
        (description, if_match): (Option<String>, Option<u64>),
    ) -> Result<Applied<PolicySubject>, RingFailure> {
        let document = Box::new(document);
        self.apply(context, PolicyCommand::Put { name, text, document, description, if_match }).await
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn delete_policy(
        &self,
        context: ChangeContext,
        name: PolicyName,
        if_match: Option<u64>,
    ) -> Result<Applied<PolicySubject>, RingFailure> {
        self.apply(context, PolicyCommand::Delete { name, if_match }).await
    }

    /// Writes down when API keys were last used.
    ///
    /// # Errors
    /// The database failed; what was not written is written the next time.
    pub async fn record_uses(&self) -> Result<(), StoreError> {
        let snapshot = self.snapshot();
        for principal in snapshot.access().principals() {
            if let Some(at) = principal.unwritten_use() {
                self.database().record_use(principal.record.id, at).await?;
                principal.written(at);
            }
        }
        Ok(())
    }
}

/// `clv_<id>_<secret>`: the id tells an operator whose it is, wherever it turns up.
fn new_secret(snapshot: &Snapshot, id: Uuid) -> Result<NewSecret, RingFailure> {
    let secret = Zeroizing::new(random::text(SECRET_BYTES).map_err(|_| RingFailure::Seal)?);
    let text = Zeroizing::new(format!("clv_{}_{}", id.simple(), secret.as_str()));
    let hash = internal::token_hash(snapshot, text.as_bytes()).ok_or(RingFailure::Seal)?;
    Ok(NewSecret { text, hash })
}
