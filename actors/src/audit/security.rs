//! A short log of changes and refusals beside the long one, for people. It proves nothing: whatever is in it is in the chain too.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::directory::SECURITY;

/// Bytes of one file.
const FILE_MAX: u64 = 10 << 20;
/// Files, the open one included.
const FILES: usize = 10;

pub(super) struct SecurityLog {
    directory: PathBuf,
    open: Option<(File, u64)>,
    limit: u64,
}

impl SecurityLog {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory, open: None, limit: FILE_MAX }
    }

    /// Writes lines, as well as it can.
    pub(super) fn write(&mut self, lines: &[u8]) {
        if let Err(error) = self.try_write(lines) {
            self.open = None;
            tracing::warn!(%error, "security.log can't be written");
        }
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, length)| *length >= self.limit) {
            self.open = None;
            self.shift()?;
        }
        let (file, length) = match &mut self.open {
            Some(open) => open,
            None => {
                let path = self.directory.join(SECURITY);
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
                let length = file.metadata()?.len();
                self.open.insert((file, length))
            }
        };
        file.write_all(lines)?;
        *length += lines.len() as u64;
        Ok(())
    }

    /// `security.log` becomes `security.log.1`, and so on; the last one goes.
    fn shift(&self) -> io::Result<()> {
        let path = |number: usize| match number {
            0 => self.directory.join(SECURITY),
            number => self.directory.join(format!("{SECURITY}.{number}")),
        };
        for number in (0..FILES - 1).rev() {
            if path(number).exists() {
                fs::rename(path(number), path(number + 1))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = SecurityLog { limit: 10, ..SecurityLog::new(folder.path().to_owned()) };
        for number in 0..25 {
            log.write(format!("line {number:05}\n").as_bytes());
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read(SECURITY), "line 00024\n");
        assert_eq!(read("security.log.9"), "line 00015\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), FILES);
        // One that was there before goes on.
        let mut log = SecurityLog { limit: 100, ..SecurityLog::new(folder.path().to_owned()) };
        log.write(b"more\n");
        assert_eq!(read(SECURITY), "line 00024\nmore\n");
    }
}
