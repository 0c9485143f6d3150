//! Values as other systems keep them: taken in under the keys that they were made with, and handed out to systems that are still to move.

use std::{cell::Cell, sync::Arc};

use actix_web::web::Data;
use claviger_actors::keyring::{Snapshot, Usable, internal, record::Key};
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

use super::Version;
use crate::http::{
    authority,
    crypto::decrypt::FERNET_TRIES,
    problem::{Code, Problem},
    record,
    state::{AppState, Caller},
};

/// A value for a system that reads JWEs of `{"v": "<text>"}`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Exported {
    /// Compact JWE: `dir`, `A256GCM`.
    ciphertext: String,
    pub(super) kid: Kid,
}

/// A value that is to be stored.
pub(super) struct Given {
    pub(super) text: Zeroizing<String>,
    /// Set when it was opened.
    pub(super) opened_with: Option<Version>,
}

/// The value that a body holds, in clear or as another system has kept it.
///
/// # Errors
/// `invalid_request`: neither, or both; those of a decryption with the key that is named; `audit_unavailable`.
pub(super) async fn given(
    state: &Data<AppState>,
    caller: &Caller,
    value: Option<Zeroizing<String>>,
    (ciphertext, key): (Option<Zeroizing<String>>, Option<KeyName>),
) -> Result<Given, Problem> {
    match (value, ciphertext, key) {
        (Some(text), None, None) => Ok(Given { text, opened_with: None }),
        (None, Some(ciphertext), Some(key)) => {
            // A change is let in by the door, but this uses a key.
            record::use_can_be(state)?;
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
) -> Result<Given, Problem> {
    let key = authority::key(state, snapshot, caller, Permission::KeyDecrypt, name)?;
    if key.record.usage != Usage::Encrypt || key.record.temporary.is_some() {
        let detail = "values are taken in under a key of usage encrypt that is not temporary";
        return Err(Problem::new(Code::UnsupportedOperation, detail));
    }
    let versions = Versions { snapshot, key, fitting: Cell::default() };
    let (value, _) = stored::read(ciphertext, "", &versions)?;
    let text = std::str::from_utf8(value.expose());
    let text = text.map(|text| Zeroizing::new(text.to_owned()));
    let text = text.map_err(|_| Problem::invalid("the value is no UTF-8 text"))?;
    Ok(Given { text, opened_with: versions.fitting.take().map(|kid| (name.clone(), kid)) })
}

/// The versions of one key that may decrypt.
struct Versions<'a> {
    snapshot: &'a Snapshot,
    key: &'a Arc<Key>,
    /// The one that did.
    fitting: Cell<Option<Kid>>,
}

impl Versions<'_> {
    /// Tries versions, as many as any decryption does.
    fn try_each<'a>(
        &self,
        versions: impl Iterator<Item = Usable<'a>>,
        with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
    ) -> Result<SecretBytes, CryptoError> {
        let tried = |usable: Usable<'a>| Some((with(&usable.material).ok()?, usable.version.kid.clone()));
        let (value, kid) = versions.take(FERNET_TRIES).find_map(tried).ok_or(CryptoError::Refused)?;
        self.fitting.set(Some(kid));
        Ok(value)
    }
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
        let versions = named
            .iter()
            .chain(aliased)
            .filter_map(|kid| self.snapshot.consumer(kid).ok())
            .filter(|usable| usable.key.record.id == self.key.record.id);
        self.try_each(versions, with)
    }

    fn fernet(
        &self,
        with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
    ) -> Result<SecretBytes, CryptoError> {
        self.try_each(self.snapshot.consumers(self.key), with)
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
