//! Checkpoints on their way into the database.

use std::sync::Arc;

use super::{Around, Keeping, Pauses, Status, in_time};

pub(super) async fn run(shared: (Keeping, Around, Arc<Status>)) {
    let (keeping, mut around, status) = shared;
    let mut pauses = Pauses::new(keeping.retry);
    loop {
        // Always the newest: those before it say nothing that it does not.
        let newest = around.anchors.borrow_and_update().clone();
        let is_kept = newest.as_ref().map(|newest| newest.hash)
            == status.anchored.borrow().as_ref().map(|kept| kept.hash);
        if let Some(newest) = newest.filter(|_| !is_kept) {
            if let Err(error) = in_time(around.shelf.put_anchor(&keeping.node, &newest)).await {
                if pauses.is_first() {
                    tracing::warn!(%error, "a checkpoint of the audit log was not written to the database and waits");
                }
                pauses.pause().await;
                continue;
            }
            pauses = Pauses::new(keeping.retry);
            status.anchored.send_replace(Some(newest));
            tokio::time::sleep(keeping.anchor_interval).await;
        }
        if around.anchors.changed().await.is_err() {
            return;
        }
    }
}
