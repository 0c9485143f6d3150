//! Sealing and opening, on a snapshot.

use claviger_crypto::{CryptoError, secret::SecretBytes};
use claviger_entity::{KeyName, KeyState, Kid};

use super::item::{About, Item, Place, Revision};
use crate::{
    keyring::{Snapshot, Unusable, Usable, record::Time},
    seal::Binding,
};

/// Why a value could not be opened or sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CryptError {
    /// This ring does not know the version, or not yet.
    #[error("the ring does not know the version of the key")]
    UnknownVersion,
    /// The version may not be used.
    #[error(transparent)]
    Unusable(Unusable),
    /// It was altered, or is not in its place.
    #[error("the value was altered or is not in its place")]
    Damaged,
}

fn binding(snapshot: &Snapshot, place: &Place, revision: Revision) -> Binding {
    let deployment = snapshot.keychain().deployment();
    let (owner, name) = (place.owner().as_str(), place.name());
    Binding::stored(deployment, place.store().as_str(), (owner, name), (revision.id, revision.version))
}

/// Seals a value in its place under the primary.
pub(super) fn seal(
    snapshot: &Snapshot,
    (place, revision): (Place, Revision),
    value: &SecretBytes,
    (about, created_at, updated_at): (About, Time, Time),
) -> Result<Item, CryptError> {
    let usable = snapshot.primary(&KeyName::stores()).map_err(CryptError::Unusable)?;
    let aad = binding(snapshot, &place, revision);
    let aead = usable.material.aead().map_err(|_| CryptError::Unusable(Unusable::Material))?;
    let sealed = aead.seal(aad.as_bytes(), value.expose()).map_err(|error| match error {
        CryptoError::Spent => Unusable::NoPrimary(
            "the active version of stores has encrypted 2^32 times and may not any more; rotate the key",
        ),
        CryptoError::Uncounted => Unusable::NoPrimary(
            "encryptions under stores can't be counted, since the database does not answer",
        ),
        CryptoError::Unsupported(_)
        | CryptoError::Malformed(_)
        | CryptoError::Refused
        | CryptoError::Primitive => Unusable::Material,
    });
    Ok(Item {
        id: revision.id,
        place,
        version: revision.version,
        kid: usable.version.kid.clone(),
        sealed: sealed.map_err(CryptError::Unusable)?,
        about,
        created_at,
        updated_at,
    })
}

/// Opens a value. What a compromised version has sealed is opened too: the row's MAC, which is under another key, says that it is ours,
/// and it must be opened to be sealed anew.
pub(super) fn open(snapshot: &Snapshot, item: &Item) -> Result<SecretBytes, CryptError> {
    let usable = version(snapshot, &item.kid)?;
    let aead = usable.material.aead().map_err(|_| CryptError::Unusable(Unusable::Material))?;
    let aad = binding(snapshot, &item.place, item.revision());
    aead.open(aad.as_bytes(), &item.sealed).map_err(|_| CryptError::Damaged)
}

fn version<'a>(snapshot: &'a Snapshot, kid: &Kid) -> Result<Usable<'a>, CryptError> {
    let usable = match snapshot.consumer(kid) {
        Err(Unusable::State(KeyState::Compromised)) => snapshot.compromised(kid),
        found => found,
    };
    match usable {
        Ok(usable) if usable.key.record.name == KeyName::stores() => Ok(usable),
        Ok(_) | Err(Unusable::UnknownKid) => Err(CryptError::UnknownVersion),
        Err(error) => Err(CryptError::Unusable(error)),
    }
}

/// Seals a value anew under the primary, as the same version; `None` when it can't be, and then it stays as it is.
///
/// What was sealed is opened again before anybody relies on it.
pub(super) fn reseal(snapshot: &Snapshot, item: &Item) -> Option<Item> {
    let value = open(snapshot, item).ok()?;
    let place = (item.place.clone(), item.revision());
    let anew = seal(snapshot, place, &value, (item.about.clone(), item.created_at, item.updated_at)).ok()?;
    let again = open(snapshot, &anew).ok()?;
    again.ct_eq(value.expose()).then_some(anew)
}
