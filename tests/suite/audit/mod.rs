//! The audit log of a real process: nothing succeeds unrecorded, nothing hangs, nothing can be changed afterwards.

pub(crate) mod disks;
mod events;
mod faults;
mod floods;
mod kills;
mod lifecycle;
mod sinks;
mod store;
mod tampering;

use crate::keys::wait_until;
