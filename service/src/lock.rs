//! One process per SQLite database.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Held as long as the process serves the database; the system lets go of it when the process ends, however it ends.
pub struct DatabaseLock(#[expect(dead_code, reason = "held, not read")] File);

impl DatabaseLock {
    /// Locks a database, by a file beside it.
    ///
    /// # Errors
    /// Another process has it, or the file can't be made.
    pub fn acquire(database: &Path) -> io::Result<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::new(io::ErrorKind::WouldBlock, "another process serves this database"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("db");
        let first = DatabaseLock::acquire(&database).unwrap();
        assert!(DatabaseLock::acquire(&database).is_err());
        drop(first);
        assert!(DatabaseLock::acquire(&database).is_ok());
    }
}
