//! Several nodes on one database.

mod attempts;
mod bursts;
mod chaos;
mod cut_off;
mod idle;
mod pool;
mod quotas;
pub(crate) mod redis;
mod restarts;
mod start;
mod tls;
mod together;
mod without_redis;
