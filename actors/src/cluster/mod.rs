//! Nodes that share a database are one service: each follows the change log, none leads.
//!
//! The database is asked every second; that is the floor under everything. A node that gets no word for `max_staleness` refuses work,
//! so whoever changes something knows by when even a node that can't be reached has stopped. Redis, where there is one, makes it fast and
//! is never believed. `tests/model` checks the rules.

mod actor;
mod core;
mod figures;
mod handle;
mod hints;
mod listener;
mod redis;

pub use self::{
    core::{Acknowledged, HEARTBEAT, Member},
    figures::Figures,
    handle::{ClusterHandle, View},
    redis::{HintError, RedisLink, RedisPlace},
};
pub(crate) use self::{handle::member, hints::Hints};
