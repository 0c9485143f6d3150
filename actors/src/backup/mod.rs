//! Backup and restore: the whole deployment as it is at one epoch, in one encrypted and authenticated file.
//!
//! The file is an [age](https://age-encryption.org/v1) file: zstd-compressed lines of JSON, a [`Header`] first, then the rows of every table, and
//! a [`Trailer`] with their number, their hash, and a code over that hash which only whoever has the master can make
//! (docs/decisions/0023). Material in it is sealed as it is in the database: the file opens nothing without the master.
//!
//! [`make`] reads one snapshot of the database, page by page. [`judge`] reads a file to its end and says what is wrong with it before anybody
//! writes; [`restore`] writes it into an empty database, in one transaction.

mod cipher;
mod format;
mod judging;
mod lines;
mod making;
pub mod replay;
mod restoring;

use std::io;

pub use cipher::{Lock, Opening};
pub use format::{Header, Trailer};
pub use judging::{Judged, judge};
pub use making::{Made, make};
pub use restoring::{Restore, Written, restore};

use crate::{seal::SealError, store::StoreError};

/// How far it is: the table, rows done, rows there are.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// Why there is no backup, or no restore. Messages hold nothing of what is protected.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The passphrase or the identity does not fit.
    #[error("the file does not open: it is for another passphrase or key, or its beginning was damaged")]
    DoesNotOpen,
    /// What it is to be encrypted to is none.
    #[error("{0}")]
    Key(&'static str),
    /// It was changed or cut off.
    #[error("the backup was damaged or cut off: {0}; nothing was written")]
    Damaged(&'static str),
    /// It is of a later release.
    #[error("the backup was made by a newer release; restore it with that one")]
    Newer,
    /// Rows in it are not as the service wrote them.
    #[error(
        "rows in the backup were changed outside the service before it was made ({0}); nothing was written; --with-damaged restores them as they are, and the service leaves them aside by name"
    )]
    DamagedRows(String),
    /// The database has something in it.
    #[error("the database is not empty; a restore writes into an empty one only")]
    NotEmpty,
    /// The deployment waits for the end of a restore.
    #[error("a restore of this deployment was not finished")]
    Unfinished,
    /// The master does not fit.
    #[error("the backup needs the master key of its deployment: {0}")]
    Master(SealError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading or writing the file.
    #[error("the file can't be read or written: {0}")]
    Io(#[from] io::Error),
}
