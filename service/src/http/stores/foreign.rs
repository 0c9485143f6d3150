//! Values as other systems keep them: taken in under the keys that they were made with, and handed out to systems that are still to move.

use std::sync::Arc;

use actix_web::web::Data;
use claviger_actors::keyring::{Snapshot, internal, record::Key};
use claviger_crypto::{
    CryptoError, jwe,
    prepared::PreparedKey,
    secret::SecretBytes,
    stored::{self, Keys},
};
use claviger_entity::{KeyName, Kid, Usage};
use claviger_policy::Permission;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::http::{
    authority,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// A value for a system that reads JWEs of `{"v": "<text>"}`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Exported {
    /// Compact JWE: `dir`, `A256GCM`.
    ciphertext: String,
    kid: Kid,
}

/// The value that a body holds, in clear or as another system has kept it.
///
/// # Errors
/// `invalid_request`: neither, or both; those of a decryption with the key that is named.
pub(super) async fn given(
    state: &Data<AppState>,
    caller: &Caller,
    value: Option<Zeroizing<String>>,
    (ciphertext, key): (Option<Zeroizing<String>>, Option<KeyName>),
) -> Result<Zeroizing<String>, Problem> {
    match (value, ciphertext, key) {
        (Some(value), None, None) => Ok(value),
        (None, Some(ciphertext), Some(key)) => {
            let snapshot = state.snapshot_with(&key).await?;
            opened(state, &snapshot, caller, (&ciphertext, &key))
        }
        _ => Err(Problem::invalid("give either value, or ciphertext with the key that it was made with")),
    }
}

fn opened(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    (ciphertext, name): (&str, &KeyName),
) -> Result<Zeroizing<String>, Problem> {
    let key = authority::key(state, snapshot, caller, Permission::KeyDecrypt, name)?;
    let (value, _) = stored::read(ciphertext, "", &Versions { snapshot, key })?;
    let text = std::str::from_utf8(value.expose());
    text.map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| Problem::invalid("the value is no UTF-8 text"))
}

/// The versions of one key that may decrypt.
struct Versions<'a> {
    snapshot: &'a Snapshot,
    key: &'a Arc<Key>,
}

impl Keys for Versions<'_> {
    fn by_kid(
        &self,
        kid: &str,
        with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
    ) -> Result<SecretBytes, CryptoError> {
        // Older systems name their key by an id that is the key: it is known here by its hash.
        let hash = internal::alias_hash(self.snapshot, kid.as_bytes());
        let aliased = hash.map(|hash| self.snapshot.aliased(&hash)).unwrap_or_default();
        let named: Option<Kid> = kid.parse().ok();
        named
            .iter()
            .chain(aliased)
            .filter_map(|kid| self.snapshot.consumer(kid).ok())
            .filter(|usable| usable.key.record.id == self.key.record.id)
            .find_map(|usable| with(&usable.material).ok())
            .ok_or(CryptoError::Refused)
    }

    fn fernet(
        &self,
        with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
    ) -> Result<SecretBytes, CryptoError> {
        let mut versions = self.snapshot.consumers(self.key);
        versions.find_map(|usable| with(&usable.material).ok()).ok_or(CryptoError::Refused)
    }
}

/// A value under the primary of a key of the caller's.
///
/// # Errors
/// Those of an encryption with the key; `unsupported_operation` for one that tokens are made with: what it encrypts is a token.
pub(super) async fn exported(
    state: &Data<AppState>,
    caller: &Caller,
    name: &KeyName,
    text: &str,
) -> Result<Exported, Problem> {
    let snapshot = state.snapshot_with(name).await?;
    let key = authority::key(state, &snapshot, caller, Permission::KeyEncrypt, name)?;
    if key.record.usage != Usage::Encrypt || key.record.temporary.is_some() {
        let detail = "values are exported under an aes256-gcm key of usage encrypt that is not temporary";
        return Err(Problem::new(Code::UnsupportedOperation, detail));
    }
    let usable = snapshot.primary(name)?;
    let kid = usable.version.kid.clone();
    Ok(Exported { ciphertext: jwe::encrypt_value(&usable.material, &kid, text)?, kid })
}
