//! Counts in the database.

use std::{collections::HashMap, sync::Arc, time::Duration};

use claviger_crypto::prepared::PreparedKey;
use claviger_entity::{KeyName, KeyType, Kid, VersionNumber};
use tokio::time::sleep;

use super::core::{WORN, wanted};
use crate::{
    clock::Clock,
    keyring::{
        KeyRingHandle, Snapshot, policy,
        record::{Key, Time, VersionRecord},
    },
    store::{Database, StoreError},
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time for one block.
const COUNT_MAX: Duration = Duration::from_secs(5);

/// What this process has set aside for a version.
struct SetAside {
    /// The very key: another one counts from zero.
    material: Arc<PreparedKey>,
    count: u64,
}

/// Begins to count; ends with the process.
pub fn keep(ring: KeyRingHandle, clock: Arc<dyn Clock>) {
    actix::spawn(async move {
        let mut known = HashMap::new();
        loop {
            sleep(PAUSE).await;
            let counted = count(&ring, &*clock, &mut known);
            if let Err(error) = counted.await {
                tracing::warn!(%error, "encryptions were not counted in the database");
            }
        }
    });
}

async fn count(
    ring: &KeyRingHandle,
    clock: &dyn Clock,
    known: &mut HashMap<Kid, SetAside>,
) -> Result<(), StoreError> {
    let snapshot = ring.snapshot();
    let used = used(&snapshot);
    known.retain(|kid, _| used.iter().any(|(used, _)| used == kid));
    let keychain = Arc::clone(snapshot.keychain());
    drop(snapshot);
    for (kid, material) in used {
        let Ok(aead) = material.aead() else { continue };
        let entry = known
            .entry(kid.clone())
            .or_insert_with(|| SetAside { material: Arc::clone(&material), count: 0 });
        if !Arc::ptr_eq(&entry.material, &material) {
            *entry = SetAside { material: Arc::clone(&material), count: 0 };
        }
        aead.uses().begin();
        let Some(wanted) = wanted(aead.uses().made(), entry.count) else { continue };
        let (keychain, now) = (Arc::clone(&keychain), clock.now());
        let set_aside = move |database: Database| async move {
            database.set_uses_aside(&keychain, &kid, (wanted, now), WORN).await
        };
        let all = tokio::time::timeout(COUNT_MAX, ring.database().at_home(set_aside)).await;
        let all = all.map_err(|_| StoreError::Late)??;
        entry.count = entry.count.saturating_add(wanted);
        aead.uses().count(entry.count, all);
    }
    Ok(())
}

/// Versions that encrypt now and have done so in this process. Those of before only open.
fn used(snapshot: &Snapshot) -> Vec<(Kid, Arc<PreparedKey>)> {
    let used = primaries(snapshot).filter_map(|(_, version)| {
        let material = snapshot.prepared(&version.kid)?;
        let is_used = material.aead().is_ok_and(|aead| aead.uses().made() > 0);
        is_used.then(|| (version.kid.clone(), material))
    });
    used.collect()
}

fn primaries(snapshot: &Snapshot) -> impl Iterator<Item = (&Arc<Key>, &VersionRecord)> {
    let keys = snapshot.ring().keys().filter(|key| key.record.key_type == KeyType::Aes256Gcm);
    keys.filter_map(|key| Some((key, key.primary()?)))
}

/// Primaries that have encrypted so often that they are to be replaced now.
pub(crate) fn worn(snapshot: &Snapshot, now: Time) -> Vec<(KeyName, VersionNumber)> {
    let worn = primaries(snapshot).filter(|(key, version)| {
        let record = &key.record;
        record.temporary.is_none()
            && record.delete_at.is_none()
            && policy::earliest_activation(key).is_some_and(|at| at <= now)
            && snapshot
                .prepared(&version.kid)
                .is_some_and(|material| material.aead().is_ok_and(|aead| aead.uses().all() >= WORN))
    });
    worn.map(|(key, version)| (key.record.name.clone(), version.version)).collect()
}
