//! The tables. Times are milliseconds since the epoch; JSON is kept as text, byte for byte as it was authenticated.
//!
//! `mac` columns hold an HMAC over all other columns of their row, so an edited row is noticed whatever was edited.

pub mod alert;
pub mod alert_delivery;
pub mod alert_sighting;
pub mod alert_silence;
pub mod audit_chain;
pub mod audit_event;
pub mod auth_token;
pub mod backup;
pub mod change;
pub mod data_key;
pub mod device;
pub mod idempotency;
pub mod incident;
pub mod incident_step;
pub mod incident_use;
pub mod key;
pub mod key_use;
pub mod key_version;
pub mod node;
pub mod node_settings;
pub mod offline_token;
pub mod old_master;
pub mod pairing_request;
pub mod policy;
pub mod principal;
pub mod principal_use;
pub mod refresh_lease;
pub mod refresh_token;
pub mod rekey;
pub mod revocation;
pub mod ring_meta;
pub mod secret;
pub mod secret_version;
