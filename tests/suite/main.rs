//! The service from outside, each test on a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on stops"
)]

mod access;
mod alerts;
mod audit;
mod cli;
mod cluster;
mod compression;
mod configuration;
mod crowded;
mod crypto_ops;
mod devices;
mod doors;
mod events;
mod floods;
mod fuzz;
mod harness;
mod http2;
mod idempotency;
mod imports;
mod incidents;
mod interop;
mod keys;
mod leaks;
mod malformed;
mod metrics;
mod overload;
mod packages;
mod promises;
mod quotas;
mod recovery;
mod scale;
mod schemathesis;
mod sealing;
mod sealing_rotation;
mod sessions;
mod shipping;
mod states;
mod stores;
mod tampered;
mod tls;
mod tokens;
mod tracing;
mod ws;
