//! The audit log: one JSON line per operation, on disk before the answer leaves.
//!
//! [`AuditHandle::append`] resolves once the line has been handed to the operating system. Records never hold a secret; what they
//! name are keys, versions, principals and outcomes.

mod actor;
mod handle;
mod record;
mod segment;

pub use handle::{AuditHandle, AuditUnavailable};
pub use record::{AuditRecord, Subject};
