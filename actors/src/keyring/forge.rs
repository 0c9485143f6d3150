//! Where new material comes from.
//!
//! Symmetric and elliptic-curve material takes microseconds and is made on the spot. An RSA key takes up to two seconds, so it
//! is made on the blocking pool, a bounded number at a time, and one of each size in use is kept ready for the next rotation.

use std::{collections::BTreeMap, sync::Arc};

use claviger_crypto::material::{Material, MaterialError};
use claviger_entity::KeyType;
use tokio::sync::{Mutex, Semaphore};

/// How many RSA keys are generated at once: the rest of the machine goes on serving.
const RSA_AT_ONCE: usize = 1;
/// How many requests may wait for an RSA key.
const RSA_WAITING: usize = 64;

/// Makes material.
#[derive(Clone)]
pub(super) struct Forge {
    ready: Arc<Mutex<BTreeMap<u32, Material>>>,
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Why there is no material.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForgeError {
    #[error("too many RSA keys are being generated")]
    Busy,
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error("the generation of a key was interrupted")]
    Interrupted,
}

impl Forge {
    pub(super) fn new() -> Self {
        Self {
            ready: Arc::default(),
            working: Arc::new(Semaphore::new(RSA_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(RSA_WAITING)),
        }
    }

    /// Material for sure, however long it takes.
    pub(super) async fn make(&self, key_type: KeyType, bits: Option<u32>) -> Result<Material, ForgeError> {
        if !key_type.is_rsa() {
            return Ok(Material::generate(key_type, bits)?);
        }
        if let Some(material) = self.take(bits).await {
            return Ok(material);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| ForgeError::Busy)?;
        let _working = self.working.acquire().await.map_err(|_| ForgeError::Interrupted)?;
        tokio::task::spawn_blocking(move || Material::generate(key_type, bits))
            .await
            .map_err(|_| ForgeError::Interrupted)?
            .map_err(ForgeError::from)
    }

    /// Material if it is there at once; what is taken is made again in the background.
    pub(super) async fn spare(
        &self,
        key_type: KeyType,
        bits: Option<u32>,
    ) -> Result<Option<Material>, ForgeError> {
        if !key_type.is_rsa() {
            return Ok(Some(Material::generate(key_type, bits)?));
        }
        let material = self.take(bits).await;
        self.refill(key_type, bits);
        Ok(material)
    }

    async fn take(&self, bits: Option<u32>) -> Option<Material> {
        self.ready.lock().await.remove(&bits?)
    }

    fn refill(&self, key_type: KeyType, bits: Option<u32>) {
        let (forge, Some(size)) = (self.clone(), bits) else { return };
        actix::spawn(async move {
            // An RSA key's padding and hash are those of its use: material differs by size alone.
            match forge.make(key_type, Some(size)).await {
                Ok(material) => drop(forge.ready.lock().await.insert(size, material)),
                Err(error) => tracing::warn!(%error, bits = size, "no RSA key could be made ready"),
            }
        });
    }
}
