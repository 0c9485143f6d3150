//! What is on record: events of the whole cluster, the keys and checkpoints that vouch for the logs, and the hash that stands for a value in
//! them.

pub mod checkpoints;
pub mod hash;
pub mod keys;
pub mod list;
pub mod verify;
