//! What the audit log needs of the rest of the service at the start.

use std::{path::Path, sync::Arc, time::Duration};

use claviger_actors::{
    audit::{
        AuditHandle, Start,
        about::Anchor,
        chain_in,
        keeper::{Around, AuditKeeper, Keeping, Shelf as _},
        log::Options,
    },
    clock::Clock,
    keyring::KeyRingHandle,
    store::StoreError,
};

use crate::{
    config::{Audit, AuditLevel, Settings},
    sinks,
    startup::StartError,
};

/// Records after which one is signed.
const CHECKPOINT_LINES: u64 = 10_000;

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

/// Starts the log, and what keeps it: events and checkpoints in the database, old segments out of the folder.
///
/// # Errors
/// The database failed, or a sink can't be used.
pub async fn start(
    settings: &Settings,
    ring: &KeyRingHandle,
    clock: &Arc<dyn Clock>,
) -> Result<(AuditHandle, AuditKeeper), StartError> {
    let Audit { dir, level, fsync, write_timeout, segment_bytes, checkpoint_interval, keep, .. } =
        &settings.audit;
    if cfg!(unaudited) {
        tracing::error!("this build records no use of a key; it is for measurements only");
    } else if *level == AuditLevel::Control {
        tracing::warn!("audit.level is control: uses of keys are counted, not recorded");
    }
    let sinks = sinks::open(settings).map_err(|(setting, cause)| StartError::Setting { setting, cause })?;
    let known = known(ring, dir, &settings.node).await.map_err(StartError::Database)?;
    let handle = AuditHandle::start(Start {
        options: Options {
            directory: dir.clone(),
            node: settings.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            level: level.as_str(),
            segment_bytes: *segment_bytes as u64,
            checkpoint_lines: CHECKPOINT_LINES,
            checkpoint_interval: *checkpoint_interval,
            sync: *fsync,
        },
        signer: Arc::new(ring.clone()),
        known,
        clock: Arc::clone(clock),
        deadline: *write_timeout,
        sinks,
    });
    let keeping = Keeping {
        keep: Duration::from_secs(keep.as_secs()),
        ..Keeping::new(dir.clone(), settings.node.clone())
    };
    let around = Around {
        shelf: Arc::new(ring.clone()),
        prune: Arc::new(handle.clone()),
        anchors: handle.anchors(),
        clock: Arc::clone(clock),
    };
    Ok((handle, AuditKeeper::start(keeping, around)))
}
