//! Sealing: nothing secret is at rest in clear.
//!
//! Envelope: a master secret (environment, file) → key-encryption key by HKDF → data-encryption keys, wrapped in the database →
//! material. Each sealed value is bound to its place (deployment, key, version, type, purpose) as associated data, so that it
//! opens nowhere else. Rows carry a MAC under a key of the same envelope.

mod binding;
mod kek;
mod keychain;
mod row_mac;
pub mod shares;

pub use binding::Binding;
/// A master of before, as its row holds it.
pub use claviger_entity::tables::old_master::Model as OldMaster;
pub use kek::{Kek, MasterKeys};
pub(crate) use keychain::fresh;
pub use keychain::{DataKey, DataKeyPurpose, Keychain, Standing};
pub use row_mac::{mac_of_backup, mac_of_row};

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No given master key opens this deployment.
    #[error("seal.master_key is not the master key of this database; nothing was changed")]
    WrongMaster,
    /// A wrapped key or a sealed value was altered or moved.
    #[error("a sealed value was altered or is not in its place")]
    Damaged,
    /// A data-encryption key is missing.
    #[error("a data-encryption key is missing from the database")]
    MissingDataKey,
    /// The random generator or a primitive failed.
    #[error("a cryptographic primitive failed")]
    Primitive,
}
