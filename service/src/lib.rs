//! The service: configuration, doors, REST.

pub mod auth;
pub mod config;
pub mod files;
pub mod hardening;
pub mod http;
pub mod lock;
pub mod startup;
pub mod telemetry;
pub mod tls;
