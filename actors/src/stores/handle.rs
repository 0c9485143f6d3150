//! The door to the stores: what is read there. What is written goes through [`change`](super::change).

use std::sync::Arc;

use claviger_crypto::secret::SecretBytes;
use claviger_entity::{Owner, SecretName};
use tokio::sync::Mutex;

use super::{
    crypt::{self, CryptError},
    item::{About, Item, Place, Revision},
    migration::Migration,
    refused::Refused,
    values::{TokenPair, text_of_bytes},
};
use crate::{
    clock::{Clock, uptime},
    keyring::{KeyRingHandle, Unusable, record::Time},
    store::{Database, Found, StoreError},
};

/// Reads and writes what is stored. Cheap to clone.
#[derive(Clone)]
pub struct StoresHandle {
    pub(super) ring: KeyRingHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) node: Arc<str>,
    migration: Arc<Migration>,
    /// Whoever waits for it finds what the one before has found.
    refused: Arc<Mutex<Refused>>,
}

/// A value, open.
#[derive(Clone)]
pub struct Opened {
    /// Its state.
    pub revision: Revision,
    /// The value as it was sealed: see [`Opened::text`] and [`Opened::tokens`].
    value: SecretBytes,
    /// What is in clear.
    pub about: About,
    /// Creation.
    pub created_at: Time,
    /// Last change.
    pub updated_at: Time,
}

impl Opened {
    /// A secret, or an offline token.
    ///
    /// # Errors
    /// It is no text.
    pub fn text(&self) -> Result<zeroize::Zeroizing<String>, StoresFailure> {
        text_of_bytes(&self.value).ok_or(StoresFailure::Damaged)
    }

    /// Tokens of a third party.
    ///
    /// # Errors
    /// They are none.
    pub fn tokens(&self) -> Result<TokenPair, StoresFailure> {
        TokenPair::of_bytes(&self.value).ok_or(StoresFailure::Damaged)
    }
}

/// What a listing says of a value.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Name of the secret.
    pub name: SecretName,
    /// Its state; absent when its row was changed from outside.
    pub revision: Option<Revision>,
    /// What it is for.
    pub description: Option<String>,
    /// Creation.
    pub created_at: Option<Time>,
    /// Last change.
    pub updated_at: Option<Time>,
}

/// Why nothing was read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoresFailure {
    /// The row was changed from outside, or is of another release.
    #[error(
        "the row in the database was changed from outside; write the value anew, delete it, or restore the database"
    )]
    Damaged,
    /// The key `stores` can't be used as it is.
    #[error(transparent)]
    Key(Unusable),
    /// Longer than a value may be.
    #[error("a value has at most 65536 bytes")]
    TooLong,
    /// Whoever asked for the change is not accepted any more.
    #[error("the credential is not accepted any more")]
    ActorGone,
    /// Policies have changed since the caller was judged.
    #[error("policies do not permit this any more")]
    NotPermitted,
    /// The `Idempotency-Key` was used for another request.
    #[error("this Idempotency-Key was used for another request; choose a new one")]
    IdempotencyMismatch,
    /// The node is behind, and can't catch up.
    #[error("this node does not know the key that the value is sealed under; try again")]
    Behind,
    /// The database failed, or was too busy.
    #[error("the database did not answer as asked; read the value to see whether a change happened")]
    Storage(#[from] StoreError),
}

impl StoresHandle {
    /// A handle on the stores of a ring; begins to migrate rows.
    #[must_use]
    pub fn start(ring: KeyRingHandle, clock: Arc<dyn Clock>, node: &str, pace: super::Pace) -> Self {
        let migration = Migration::start(ring.clone(), pace);
        Self { ring, clock, node: node.into(), migration, refused: Arc::default() }
    }

    /// How far rows are from the present version of the key.
    #[must_use]
    pub fn migration(&self) -> &Migration {
        &self.migration
    }

    /// As [`Self::migration`], with rows counted now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn progress(&self) -> Result<super::Progress, StoresFailure> {
        let kids = super::migration::outdated(&self.ring.snapshot());
        let count = |database: Database| async move {
            Ok((database.stored_under(&kids).await?, database.stored_rows().await?))
        };
        let (pending, rows) = self.ask(count).await?;
        Ok(super::Progress { pending, rows, ..self.migration.progress() })
    }

    /// The value at a place.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn read(&self, place: &Place) -> Result<Option<Opened>, StoresFailure> {
        let mut found = self.found(place).await;
        if matches!(&found, Err(StoresFailure::Storage(error)) if error.is_of_the_connection()) {
            // It broke since somebody used it last; another one is made.
            found = self.found(place).await;
        }
        self.opened(place, found?).await
    }

    async fn found(&self, place: &Place) -> Result<Option<Found>, StoresFailure> {
        let (keychain, wanted) = (Arc::clone(self.ring.snapshot().keychain()), place.clone());
        self.ask(|database| async move { database.stored(&keychain, &wanted).await }).await
    }

    /// The values at places, in their order.
    ///
    /// # Errors
    /// See [`StoresFailure`]; what is wrong with one value is said in its place.
    pub async fn read_many(
        &self,
        places: &[Place],
    ) -> Result<Vec<Result<Option<Opened>, StoresFailure>>, StoresFailure> {
        let (keychain, wanted) = (Arc::clone(self.ring.snapshot().keychain()), places.to_vec());
        let found =
            self.ask(|database| async move { database.stored_many(&keychain, &wanted).await }).await?;
        let mut opened = Vec::with_capacity(places.len());
        for (place, found) in places.iter().zip(found) {
            opened.push(self.opened(place, found).await);
        }
        Ok(opened)
    }

    /// A secret as it was in one of the versions that are kept.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn read_version(&self, place: &Place, version: u64) -> Result<Option<Opened>, StoresFailure> {
        let (keychain, wanted) = (Arc::clone(self.ring.snapshot().keychain()), place.clone());
        let question =
            |database: Database| async move { database.secret_version(&keychain, &wanted, version).await };
        let found = self.ask(question).await?;
        self.opened(place, found).await
    }

    /// The versions of a secret that are kept, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn versions(&self, place: &Place) -> Result<Vec<Listed>, StoresFailure> {
        let (keychain, wanted) = (Arc::clone(self.ring.snapshot().keychain()), place.clone());
        let question = |database: Database| async move { database.secret_versions(&keychain, &wanted).await };
        let found = self.ask(question).await?;
        Ok(found.iter().filter_map(|found| listed(place.name(), found)).collect())
    }

    /// Names of secrets of an owner that come after one, in order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn names(
        &self,
        owner: &Owner,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, StoresFailure> {
        let owner = owner.clone();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let question =
            |database: Database| async move { database.secret_names(&owner, after.as_deref(), limit).await };
        self.ask(question).await
    }

    /// Secrets of an owner that have these names, by name; never a value. A row is judged with its value, so they are few at a time.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, owner: &Owner, names: &[String]) -> Result<Vec<Listed>, StoresFailure> {
        let (keychain, owner) = (Arc::clone(self.ring.snapshot().keychain()), owner.clone());
        let names = names.to_vec();
        let question = |database: Database| async move {
            let found = database.secrets_named(&keychain, &owner, &names).await?;
            // The values go here, and not only when somebody has the list.
            Ok(found.iter().filter_map(|(name, found)| listed(name, found)).collect())
        };
        self.ask(question).await
    }

    async fn opened(&self, place: &Place, found: Option<Found>) -> Result<Option<Opened>, StoresFailure> {
        let item = match found {
            None => return Ok(None),
            // Another place than the one asked for: the rows were exchanged, and the MAC of neither says so.
            Some(Found::Sound(item)) if item.place == *place => item,
            Some(Found::Sound(_) | Found::Damaged(..)) => return Err(StoresFailure::Damaged),
        };
        let mut value = crypt::open(&self.ring.snapshot(), &item);
        if matches!(value, Err(CryptError::UnknownVersion | CryptError::Unusable(_))) {
            value = self.opened_anew(&item).await?;
        }
        let value = value.map_err(failure)?;
        let revision = item.revision();
        let Item { about, created_at, updated_at, .. } = *item;
        Ok(Some(Opened { revision, value, about, created_at, updated_at }))
    }

    /// Another node may have made the version, or resumed it, a moment ago. Of all who wonder one looks, once a second for each version.
    async fn opened_anew(&self, item: &Item) -> Result<Result<SecretBytes, CryptError>, StoresFailure> {
        let mut refused = self.refused.lock().await;
        let snapshot = self.ring.snapshot();
        let opened = crypt::open(&snapshot, item);
        if opened.is_ok() || refused.knows(&item.kid, snapshot.epoch, uptime()) {
            return Ok(opened);
        }
        drop(snapshot);
        self.catch_up().await?;
        let snapshot = self.ring.snapshot();
        let opened = crypt::open(&snapshot, item);
        if opened.is_err() {
            refused.note(&item.kid, snapshot.epoch, uptime());
        }
        Ok(opened)
    }

    pub(super) async fn catch_up(&self) -> Result<(), StoresFailure> {
        self.ring.catch_up().await.map_err(|error| {
            tracing::warn!(%error, "the ring can't be read anew");
            StoresFailure::Behind
        })
    }

    pub(super) async fn ask<T, Q>(&self, question: impl FnOnce(Database) -> Q) -> Result<T, StoresFailure>
    where
        T: Send + 'static,
        Q: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Ok(self.ring.database().at_home(question).await?)
    }
}

pub(super) fn failure(error: CryptError) -> StoresFailure {
    match error {
        CryptError::Damaged => StoresFailure::Damaged,
        CryptError::UnknownVersion => StoresFailure::Behind,
        CryptError::Unusable(error) => StoresFailure::Key(error),
    }
}

fn listed(name: &str, found: &Found) -> Option<Listed> {
    let item = found.sound();
    Some(Listed {
        name: name.parse().ok()?,
        revision: item.map(Item::revision),
        description: item.and_then(|item| item.about.description.clone()),
        created_at: item.map(|item| item.created_at),
        updated_at: item.map(|item| item.updated_at),
    })
}
