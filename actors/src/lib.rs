//! The engine of the service: plain cores in actor shells, behind handles.
//!
//! `service` talks to [`keyring::KeyRingHandle`], [`rotation::RotationHandle`] and [`audit::AuditHandle`] and never sees an
//! `Addr`. Every `core.rs` and the crate `claviger-crypto` know nothing of actix, sea-orm or the clock.

pub mod audit;
pub mod clock;
pub mod keyring;
pub mod rotation;
pub mod seal;
pub mod store;
