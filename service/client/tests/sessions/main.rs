//! Sessions with a server that does as each test says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on stops"
)]

mod bad_servers;
mod calls;
mod devices;
mod events;
mod fake;
mod nodes;
