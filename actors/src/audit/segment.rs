//! The file that records go to.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// An append-only file that is opened again when it was deleted or replaced.
pub(super) struct Segment {
    path: PathBuf,
    file: Option<File>,
}

impl Segment {
    pub(super) fn new(directory: &Path) -> Self {
        Self { path: directory.join("audit.log"), file: None }
    }

    /// Appends whole lines with one write.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let file = match self.file.take().filter(|file| is_at(file, &self.path)) {
            Some(file) => file,
            None => open(&self.path)?,
        };
        // Only a file that took the whole group is kept: after a failure the next group starts with a fresh look.
        let mut writer = &file;
        writer.write_all(lines)?;
        self.file = Some(file);
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The open file is still the one that the path names.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        (Ok(_) | Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_or_replaced_file_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut segment = Segment::new(directory.path());
        let path = directory.path().join("audit.log");
        segment.append(b"1\n").unwrap();
        fs::remove_file(&path).unwrap();
        segment.append(b"2\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2\n");
        fs::rename(&path, directory.path().join("old")).unwrap();
        fs::write(&path, b"").unwrap();
        segment.append(b"3\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3\n");
    }

    #[test]
    fn an_unwritable_place_is_an_error_and_recovers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        fs::create_dir(&path).unwrap();
        let mut segment = Segment::new(directory.path());
        assert!(segment.append(b"1\n").is_err());
        fs::remove_dir(&path).unwrap();
        segment.append(b"2\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2\n");
    }
}
