//! The service: command line, doors, REST, startup.

mod alerts;
pub mod audit;
pub mod auth;
pub mod authorities;
pub mod backup;
pub mod channels;
pub mod cli;
pub mod connections;
pub mod doctor;
pub mod files;
pub mod hardening;
pub mod http;
pub mod http2;
mod internal;
mod jammed;
mod lifecycle;
pub mod lock;
pub mod metrics;
pub mod outgoing;
pub mod providers;
pub mod sinks;
pub mod startup;
pub mod telemetry;
pub mod tls;

pub use claviger_config as config;
