//! The masters that this node was given, and its keychain.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use claviger_crypto::secret::SecretBytes;
use tokio::sync::Mutex;

use crate::{
    seal::{Keychain, MasterKeys, SealError},
    store::{Database, StoreError},
};

/// Makes a new master, given the one in use, and keeps both for the next start.
pub type Renew = Arc<dyn Fn(&SecretBytes) -> io::Result<SecretBytes> + Send + Sync>;

/// Masters as a node is started with them.
pub struct GivenMasters {
    /// The masters.
    pub keys: MasterKeys,
    /// Set where the service makes its own.
    pub renew: Option<Renew>,
}

/// What the node holds.
pub(crate) struct Held {
    pub(super) masters: ArcSwap<MasterKeys>,
    pub(super) keychain: Arc<Keychain>,
    pub(super) renew: Option<Renew>,
    /// One look at a time: an older one must not undo a newer one.
    looking: Mutex<()>,
    /// There may be work since somebody looked last.
    pub(super) changed: AtomicBool,
}

impl Held {
    pub(crate) fn new(given: GivenMasters, keychain: Arc<Keychain>) -> Self {
        let masters = ArcSwap::from_pointee(given.keys);
        Self { masters, keychain, renew: given.renew, looking: Mutex::default(), changed: true.into() }
    }

    /// Fingerprints of what the node was given, newest first.
    pub(crate) fn fingerprints(&self) -> Vec<String> {
        self.masters.load().fingerprints(self.keychain.deployment())
    }

    /// State of masters and data-encryption keys that the node works with.
    pub(crate) fn revision(&self) -> i64 {
        self.keychain.revision()
    }

    /// The node is not where the database is.
    pub(crate) fn is_behind(&self, revision: i64) -> bool {
        revision != self.keychain.revision() || self.keychain.is_locked()
    }

    /// Takes over what the database has. That the node lacks the master is no error: it says so, and answers nobody until it does not any
    /// more.
    ///
    /// # Errors
    /// The database failed or was edited.
    pub(crate) async fn adopt(&self, database: &Database) -> Result<(), StoreError> {
        let _looking = self.looking.lock().await;
        let was_locked = self.keychain.is_locked();
        let masters = self.masters.load_full();
        match database.adopt_keys(&self.keychain, &masters).await {
            Ok(()) => {
                if was_locked {
                    tracing::info!("the node has the master in use again");
                }
                self.changed.store(true, Ordering::Release);
                Ok(())
            }
            Err(StoreError::Seal(SealError::WrongMaster)) => {
                if !was_locked {
                    tracing::error!(
                        "seal.master_key lacks the master that is in use by now; nothing is answered until this node is started with it"
                    );
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
