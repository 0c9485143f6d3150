//! What is on record: events of the whole cluster, the keys that vouch for the logs, and the hash that stands for a value in them.

pub mod hash;
pub mod keys;
pub mod list;
