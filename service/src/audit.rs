//! What the audit log needs of the rest of the service at the start.

use std::{path::Path, sync::Arc};

use claviger_actors::{
    audit::{
        about::Anchor,
        chain_in,
        keeper::{Around, AuditKeeper, Keeping, Prune, Shelf as _},
    },
    clock::Clock,
    keyring::KeyRingHandle,
    store::StoreError,
};
use tokio::sync::watch;

use crate::config::Settings;

/// The last checkpoint that the database knows of the chain in a folder. Where the folder holds none, that of the chain which the node
/// has written last: it may have been taken away.
///
/// # Errors
/// The database failed.
pub async fn known(ring: &KeyRingHandle, directory: &Path, node: &str) -> Result<Option<Anchor>, StoreError> {
    if let Some(chain) = chain_in(directory) {
        return ring.anchor(chain).await;
    }
    let all = ring.audit_anchors().await?.into_iter().filter(|kept| kept.node == node);
    Ok(all.map(|kept| kept.anchor).max_by_key(|anchor| anchor.at))
}

/// Starts what keeps the log: events and checkpoints in the database, old segments out of the folder.
#[must_use]
pub fn start(
    settings: &Settings,
    ring: &KeyRingHandle,
    (prune, anchors): (Arc<dyn Prune>, watch::Receiver<Option<Anchor>>),
    clock: Arc<dyn Clock>,
) -> AuditKeeper {
    let keeping = Keeping::new(settings.audit_dir.clone(), settings.node.clone());
    AuditKeeper::start(keeping, Around { shelf: Arc::new(ring.clone()), prune, anchors, clock })
}
