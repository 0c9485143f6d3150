//! Masters: which one is in use, and the way to the next.
//!
//! 1. A rotation wraps all data-encryption keys by the new master, in one transaction, and offers a new one of them. It is refused while a
//!    node that serves lacks the master.
//! 2. Once every node that serves has the key that was offered, it seals.
//! 3. One node moves what was sealed before, in batches, until nothing is left. Keys of before stay, wrapped by the master in use, so that
//!    whatever still turns up under one of them opens.
//!
//! Each step is one transaction in the database, and what is to be done follows from what it has: whoever dies anywhere has lost nothing,
//! and the next node goes on.

mod core;
mod handle;
mod held;
mod keeper;

pub(crate) use self::held::Held;
pub use self::{
    handle::{MasterFailure, MastersHandle, NodeMasters, Status},
    held::{GivenMasters, Renew},
};

/// How masters are looked after.
#[derive(Debug, Clone, Copy)]
pub struct MasterSettings {
    /// A master is to be replaced when it is this old; `None` = never.
    pub rotate_every: Option<std::time::Duration>,
    /// Rows that are sealed anew each second at most.
    pub rekey_rate: u32,
}
