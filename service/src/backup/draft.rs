//! A file that is there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use claviger_crypto::random;

/// A file under another name until it is whole.
pub struct Draft {
    path: PathBuf,
    temporary: Option<PathBuf>,
    file: File,
}

impl Draft {
    /// Beside the place that it is for.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let suffix = random::text(8).map_err(io::Error::other)?;
        let temporary = path.with_file_name(format!(".{}.{suffix}", name.to_string_lossy()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary: Some(temporary), file })
    }

    /// Writes on.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts it in its place, on disk, all of it.
    ///
    /// # Errors
    /// There is one already, unless it is to be replaced; or it can't be put there. Nothing is left then.
    pub fn put(mut self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        let placed = if replace {
            fs::rename(&temporary, &self.path)
        } else {
            // It refuses to replace a file that somebody else made in the meantime.
            let linked = fs::hard_link(&temporary, &self.path);
            linked.and(fs::remove_file(&temporary))
        };
        if placed.is_err() {
            // Nobody needs the draft; why it could not be placed is what is told.
            let _gone = fs::remove_file(&temporary);
        }
        placed?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Half a backup is none.
            let _gone = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        let files = || fs::read_dir(folder.path()).unwrap().count();
        let mut draft = Draft::new(&path).unwrap();
        draft.write(b"half").unwrap();
        drop(draft);
        assert_eq!(files(), 0);
        let mut draft = Draft::new(&path).unwrap();
        draft.write(b"whole").unwrap();
        draft.put(false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut draft = Draft::new(&path).unwrap();
        draft.write(b"another").unwrap();
        assert!(draft.put(false).is_err());
        assert_eq!((fs::read(&path).unwrap().as_slice(), files()), (b"whole".as_slice(), 1));
        let mut draft = Draft::new(&path).unwrap();
        draft.write(b"another").unwrap();
        draft.put(true).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), files()), (b"another".as_slice(), 1));
    }
}
