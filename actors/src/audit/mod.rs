//! The audit log: one JSON line per operation, on disk before the answer leaves, and no line can be changed afterwards unnoticed.
//!
//! Each line carries a hash over itself and the line before ([`line`]); now and then one is signed ([`signed`], [`about`]), and the
//! signed ones are kept in the database too. [`log`] writes. [`AuditHandle::append`] resolves once the line has been
//! handed to the operating system. Records never hold a secret; what they name are keys, versions, principals and outcomes.

pub mod about;
mod actor;
pub mod directory;
pub mod event;
mod floods;
mod group;
mod handle;
#[cfg(test)]
mod handle_tests;
mod inbox;
pub mod keeper;
pub mod line;
pub mod log;
#[cfg(test)]
mod log_tests;
mod pace;
mod record;
mod resume;
mod scan;
mod security;
pub mod signed;
mod sink;
pub mod verify;
mod voucher;

pub use event::{event_of, event_of_outcome};
pub use floods::{Flood, Floods};
pub use handle::{AuditHandle, AuditUnavailable, Figures, Start};
pub use record::{AuditRecord, BackupSubject, RevocationSubject, SessionSubject, StoredSubject, Subject};
pub use resume::chain_in;
pub use sink::{Sink, Sinks};
