//! How much may be asked for: quotas that all nodes share.
//!
//! A request is judged by what this node has in memory and nothing else. Once a second nodes tell each other through Redis of what is asked
//! for often, and each takes its part of the quota; without Redis each keeps to an even part. See `docs/decisions/0025-quotas-in-parts.md`.

mod bucket;
mod core;
mod exchange;
mod handle;

pub use self::{
    core::{Class, Quota, Standing},
    exchange::QuotaSource,
    handle::QuotasHandle,
};
