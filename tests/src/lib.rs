//! Harness: real processes in folders of their own, spoken to as a client would.
//!
//! Nothing here sleeps and hopes: a node is ready when it has said so on its standard output.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on stops"
)]

pub mod authority;
pub mod authorization;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod gate;
pub mod history;
pub mod issuer;
pub mod listener;
pub mod needles;
pub mod node;
pub mod openbao;
pub mod postgres;
pub mod proc;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod seed;
pub mod sentinel;
pub mod sessions;
pub mod spread;

pub use authority::Authority;
pub use client::{Answer, Client};
pub use cluster::Cluster;
pub use gate::Gate;
pub use issuer::Issuer;
pub use listener::Listener;
pub use node::Node;
pub use openbao::OpenBao;
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::Redis;
pub use sentinel::Sentinels;

/// A volume: whole in `make test-full`, a tenth otherwise.
#[must_use]
pub fn volume(whole: usize) -> usize {
    if std::env::var_os("TEST_FULL").is_some() { whole } else { whole / 10 }
}
