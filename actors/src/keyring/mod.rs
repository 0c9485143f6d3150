//! The key ring: every key of the deployment, one writer, free readers.
//!
//! [`core`] decides, [`writer`](self) persists, the [`KeyRing`](actor) actor orders the writers one behind the other and swaps
//! the [`Snapshot`] that everybody reads; what other nodes have done is taken in beside it. [`KeyRingHandle`] is the only door.

mod access;
mod actor;
mod audit;
pub mod boot;
mod command;
pub mod core;
mod devices;
pub mod figures;
mod forge;
mod handle;
pub mod internal;
mod jwks;
pub mod policy;
pub mod record;
mod snapshot;
mod writer;

pub use actor::{Applied, ChangeContext, IdempotencyTicket, RingFailure, StillMay};
pub use audit::AuditKey;
pub(crate) use command::RingCommand;
pub use handle::KeyRingHandle;
pub use jwks::Jwks;
pub use snapshot::{Confirmed, Epoch, Position, Snapshot, Unusable, Usable};
