//! The audit log of a real process: nothing succeeds unrecorded, nothing hangs, nothing can be changed afterwards.

mod disks;
mod events;
mod faults;
mod floods;
mod kills;
mod store;
mod tampering;

use std::time::Duration;

use claviger_tests::process;

/// Asks until it is so, for 30 s at most.
fn wait_until(mut condition: impl FnMut() -> bool) {
    let so = process::until(Duration::from_secs(30), || condition().then_some(()));
    assert!(so.is_some(), "it did not happen within 30 s");
}
