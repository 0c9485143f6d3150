//! What is stored for others: secrets, tokens. It moves no epoch and waits for no row of the ring.
//!
//! Whoever writes holds a lock that they share with all other writers, and that whoever ends a version of the key `stores` takes for
//! themselves: so nothing is sealed under a version that is about to go, and rows that still need it are counted when none can come.

mod leases;
mod migrate;
mod reading;
mod tables;
mod writing;

pub(crate) use migrate::{Batch, Moved, Scope};
pub(crate) use reading::Found;
pub(crate) use writing::StoresTurn;
