//! The engine of the service: plain cores in actor shells, behind handles.
//!
//! `service` talks to [`keyring::KeyRingHandle`], [`rotation::RotationHandle`], [`cluster::ClusterHandle`], [`tokens::TokensHandle`],
//! [`stores::StoresHandle`] and [`audit::AuditHandle`] and never sees an `Addr`. Every core and the crates `claviger-crypto` and `claviger-policy` know nothing of actix, sea-orm or the clock.

pub mod access;
pub mod alerts;
pub mod attempts;
pub mod audit;
pub mod backup;
pub mod clock;
pub mod cluster;
pub mod devices;
pub mod events;
pub mod figures;
pub mod incidents;
pub mod keyring;
pub mod masters;
pub mod quotas;
pub mod rotation;
pub mod seal;
pub mod session;
pub mod store;
pub mod stores;
pub mod tokens;
pub mod uses;
