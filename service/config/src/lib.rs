//! Settings: environment > `_FILE` > file > default.
//!
//! Every setting stands in one table. A name that is not in it stops the start, wherever it was written; so does a setting given
//! both as itself and as a file. Errors are one line that names the setting as the operator wrote it, and never its value.
//!
//! A pure function of its input: texts, the environment and a way to read files are parameters, so it is fuzzed in isolation.
//! [`Settings::load`] is for whoever runs with the settings, [`survey`] for whoever wants to know everything that is wrong.

mod alerts;
mod audit;
mod backup;
mod channels;
mod clients;
mod error;
mod incidents;
mod issuers;
mod layers;
mod limits;
mod master;
mod network;
mod postgres;
mod posture;
mod providers;
mod redis;
mod sessions;
mod settings;
mod survey;
#[cfg(test)]
mod tests;
mod tokens;
mod watching;

pub use alerts::{ALERT_RULES, AlertRule, Alerts};
pub use audit::{Audit, AuditLevel, AuditSink};
pub use backup::Backup;
pub use channels::{Channel, ChannelKind, Email, EmailTls, Gateway};
pub use clients::ClientNames;
pub use error::ConfigError;
pub use incidents::{Response, Responses};
pub use issuers::{SubjectPattern, TrustedIssuer, look_alike};
pub use layers::{Given, Layers, without_newline};
pub use limits::{Limits, Quota};
pub use master::{MasterSecrets, MasterWeakness, lines_of_secret};
pub use network::Network;
pub use postgres::PostgresUrl;
pub use providers::{AuthStyle, TokenProvider};
pub use redis::RedisUrl;
pub use sessions::{Doors, Mesh};
pub use settings::{DatabaseUrl, Pool, Settings, Stores, Tls};
pub use survey::{Outline, Survey, survey};
pub use tokens::TokenTimes;
pub use watching::Watching;
