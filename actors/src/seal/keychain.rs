//! The data-encryption keys of a deployment, open in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use claviger_crypto::{aead::Aead, random, secret::SecretBytes};
use claviger_entity::tables::data_key;
use uuid::Uuid;

use super::{Binding, Kek, SealError};

/// What a data-encryption key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKeyPurpose {
    /// Seals material and kept answers.
    Seal,
    /// Authenticates rows.
    RowMac,
}

impl DataKeyPurpose {
    /// As rows have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::RowMac => "row_mac",
        }
    }
}

/// A wrapped data-encryption key, as its row holds it.
pub type DataKey = data_key::Model;

/// What the row of the deployment says of data-encryption keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Grows with every change of masters and data-encryption keys.
    pub revision: i64,
    /// The key that seals; `None` = the newest.
    pub current: Option<Uuid>,
}

/// Seals, opens and authenticates. What it seals with may change while it is in use; what it has once been able to open it can always
/// open.
pub struct Keychain {
    deployment: Uuid,
    seals: ArcSwap<Seals>,
    row_mac: SecretBytes,
    /// The ring names a master that this node was not given.
    is_locked: AtomicBool,
}

struct Seals {
    keys: BTreeMap<Uuid, Arc<Aead>>,
    current: Uuid,
    revision: i64,
}

impl Keychain {
    /// Fresh keys for a new deployment, with the rows to keep them in.
    ///
    /// # Errors
    /// The random generator failed.
    pub fn create(kek: &Kek, now_ms: i64) -> Result<(Self, Vec<DataKey>), SealError> {
        let rows = [DataKeyPurpose::Seal, DataKeyPurpose::RowMac]
            .into_iter()
            .map(|purpose| fresh(kek, purpose, now_ms))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((Self::open(kek, &rows, &Standing::default())?, rows))
    }

    /// Opens the keys of a deployment.
    ///
    /// # Errors
    /// A row was altered or one is missing.
    pub fn open(kek: &Kek, rows: &[DataKey], standing: &Standing) -> Result<Self, SealError> {
        let (seals, row_mac) = opened(kek, rows, standing)?;
        let seals = ArcSwap::from_pointee(seals);
        Ok(Self { deployment: kek.deployment(), seals, row_mac, is_locked: false.into() })
    }

    /// Takes over what the database has by now.
    ///
    /// # Errors
    /// A row was altered or one is missing; nothing has changed then.
    pub fn adopt(&self, kek: &Kek, rows: &[DataKey], standing: &Standing) -> Result<(), SealError> {
        let (mut seals, row_mac) = opened(kek, rows, standing)?;
        if !row_mac.ct_eq(self.row_mac.expose()) {
            return Err(SealError::Damaged);
        }
        // Readers may hold rows that were sealed under a key of before.
        for (id, key) in &self.seals.load().keys {
            seals.keys.entry(*id).or_insert_with(|| Arc::clone(key));
        }
        self.seals.store(Arc::new(seals));
        self.is_locked.store(false, Ordering::Release);
        Ok(())
    }

    /// The ring has a master that this node lacks: from now on nothing is sealed here.
    pub fn lock(&self) {
        self.is_locked.store(true, Ordering::Release);
    }

    /// The ring has a master that this node lacks.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::Acquire)
    }

    /// What it works with.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.seals.load().revision
    }

    /// The key that seals.
    #[must_use]
    pub fn current(&self) -> Uuid {
        self.seals.load().current
    }

    /// Seals anew what was sealed under a key of before; `None` when it is sealed under the present one.
    ///
    /// # Errors
    /// It was altered or moved, its key is missing, or the random generator failed.
    pub fn reseal(
        &self,
        key: Uuid,
        binding: &Binding,
        sealed: &[u8],
    ) -> Result<Option<(Uuid, Vec<u8>)>, SealError> {
        if key == self.current() {
            return Ok(None);
        }
        self.seal(binding, &self.open_sealed(key, binding, sealed)?).map(Some)
    }

    /// The deployment they belong to.
    #[must_use]
    pub const fn deployment(&self) -> Uuid {
        self.deployment
    }

    /// Seals a secret in its place; answers with the key that did it.
    ///
    /// # Errors
    /// The random generator failed.
    pub fn seal(&self, binding: &Binding, secret: &SecretBytes) -> Result<(Uuid, Vec<u8>), SealError> {
        if self.is_locked() {
            return Err(SealError::WrongMaster);
        }
        let seals = self.seals.load();
        let key = seals.keys.get(&seals.current).ok_or(SealError::MissingDataKey)?;
        let sealed = key.seal(binding.as_bytes(), secret.expose()).map_err(|_| SealError::Primitive)?;
        Ok((seals.current, sealed))
    }

    /// Opens a sealed secret in its place.
    ///
    /// # Errors
    /// It was altered or moved, or its key is missing.
    pub fn open_sealed(&self, key: Uuid, binding: &Binding, sealed: &[u8]) -> Result<SecretBytes, SealError> {
        let seals = self.seals.load();
        let key = seals.keys.get(&key).ok_or(SealError::MissingDataKey)?;
        key.open(binding.as_bytes(), sealed).map_err(|_| SealError::Damaged)
    }

    pub(super) const fn row_mac(&self) -> &SecretBytes {
        &self.row_mac
    }
}

fn opened(kek: &Kek, rows: &[DataKey], standing: &Standing) -> Result<(Seals, SecretBytes), SealError> {
    let (mut keys, mut newest, mut row_mac) = (BTreeMap::new(), None, None);
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row.created_at);
    for row in rows {
        let id: Uuid = row.id.parse().map_err(|_| SealError::Damaged)?;
        let secret = kek.unwrap(&Binding::data_key(kek.deployment(), id, &row.purpose), &row.wrapped)?;
        if row.purpose == DataKeyPurpose::Seal.as_str() {
            keys.insert(id, Arc::new(Aead::new(&secret).map_err(|_| SealError::Damaged)?));
            newest = Some(id);
        } else {
            row_mac = Some(secret);
        }
    }
    let missing = SealError::MissingDataKey;
    let current = standing.current.or(newest).ok_or(missing)?;
    if !keys.contains_key(&current) {
        return Err(missing);
    }
    Ok((Seals { keys, current, revision: standing.revision }, row_mac.ok_or(missing)?))
}

/// A new key with its row.
pub(crate) fn fresh(kek: &Kek, purpose: DataKeyPurpose, now_ms: i64) -> Result<DataKey, SealError> {
    let id = Uuid::now_v7();
    let secret = SecretBytes::new(random::bytes(32).map_err(|_| SealError::Primitive)?);
    let wrapped = kek.wrap(&Binding::data_key(kek.deployment(), id, purpose.as_str()), secret.expose())?;
    Ok(DataKey { id: id.to_string(), purpose: purpose.as_str().to_owned(), wrapped, created_at: now_ms })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seal::MasterKeys;

    fn kek(byte: u8) -> Kek {
        let masters = MasterKeys::new(vec![SecretBytes::new(vec![byte; 32])]).unwrap();
        masters.newest(Uuid::nil()).unwrap()
    }

    fn at(id: Uuid) -> Binding {
        Binding::grant(Uuid::nil(), id)
    }

    /// One thing that befalls a keychain and the rows that it comes from.
    #[derive(Debug, Clone)]
    enum Step {
        Seal,
        Offer,
        Use,
        Adopt,
        Reseal,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Seal),
            Just(Step::Offer),
            Just(Step::Use),
            Just(Step::Adopt),
            Just(Step::Reseal)
        ]
    }

    proptest! {
        /// Whatever the order of rotations, and however late a node hears of them: everything opens, on every node that has the key offered.
        #[test]
        fn nothing_that_was_sealed_is_ever_lost(steps in prop::collection::vec(step(), 1..40)) {
            let mut wrapping = kek(0);
            let (keychain, mut rows) = Keychain::create(&wrapping, 0).unwrap();
            let (mut standing, mut next, mut masters) = (Standing::default(), None, 0_u8);
            standing.current = Some(keychain.current());
            let mut sealed = Vec::new();
            for step in steps {
                match step {
                    Step::Seal => {
                        let id = Uuid::now_v7();
                        let (key, bytes) = keychain.seal(&at(id), &SecretBytes::new(vec![7; 9])).unwrap();
                        sealed.push((id, key, bytes));
                    }
                    Step::Offer => {
                        masters += 1;
                        let to = kek(masters);
                        rows = rows.iter().map(|row| wrapping.rewrap(&to, row).unwrap()).collect();
                        let new = fresh(&to, DataKeyPurpose::Seal, masters.into()).unwrap();
                        next = Some(new.id.parse().unwrap());
                        rows.push(new);
                        wrapping = to;
                        standing.revision += 1;
                    }
                    Step::Use => {
                        standing.current = next.take().or(standing.current);
                        standing.revision += 1;
                    }
                    Step::Adopt => {
                        keychain.adopt(&wrapping, &rows, &standing).unwrap();
                        prop_assert_eq!(Some(keychain.current()), standing.current);
                        prop_assert_eq!(keychain.revision(), standing.revision);
                    }
                    Step::Reseal => {
                        for (id, key, bytes) in &mut sealed {
                            if let Some(new) = keychain.reseal(*key, &at(*id), bytes).unwrap() {
                                (*key, *bytes) = new;
                            }
                            prop_assert_eq!(*key, keychain.current());
                        }
                    }
                }
            }
            let elsewhere = Keychain::open(&wrapping, &rows, &standing).unwrap();
            for (id, key, bytes) in &sealed {
                prop_assert!(keychain.open_sealed(*key, &at(*id), bytes).is_ok());
                prop_assert!(elsewhere.open_sealed(*key, &at(*id), bytes).is_ok());
                prop_assert!(elsewhere.open_sealed(*key, &at(Uuid::nil()), bytes).is_err());
            }
        }
    }

    #[test]
    fn whoever_lacks_the_master_seals_nothing_and_opens_what_it_could() {
        let (one, other) = (kek(1), kek(2));
        let (keychain, rows) = Keychain::create(&one, 0).unwrap();
        let secret = SecretBytes::new(vec![1]);
        let (key, sealed) = keychain.seal(&at(Uuid::nil()), &secret).unwrap();
        let moved: Vec<_> = rows.iter().map(|row| one.rewrap(&other, row).unwrap()).collect();
        let standing = Standing { revision: 1, current: None };
        assert_eq!(keychain.adopt(&one, &moved, &standing), Err(SealError::Damaged));
        keychain.lock();
        assert_eq!(keychain.seal(&at(Uuid::nil()), &secret), Err(SealError::WrongMaster));
        assert!(keychain.open_sealed(key, &at(Uuid::nil()), &sealed).is_ok());
        keychain.adopt(&other, &moved, &standing).unwrap();
        assert!(!keychain.is_locked() && keychain.seal(&at(Uuid::nil()), &secret).is_ok());
        // Rows of another deployment's keys are not taken.
        let (_, strange) = Keychain::create(&other, 0).unwrap();
        assert_eq!(keychain.adopt(&other, &strange, &standing), Err(SealError::Damaged));
        let gone = Standing { revision: 2, current: Some(Uuid::max()) };
        assert_eq!(keychain.adopt(&other, &moved, &gone), Err(SealError::MissingDataKey));
    }
}
