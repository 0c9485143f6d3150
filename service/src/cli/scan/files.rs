//! Which files are looked into. Links are not followed, and neither is what is on another machine by way of one; what `.gitignore` names is
//! looked into as everything else, since that is where secrets lie.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
};

/// Bytes that tell whether a file is one of text.
const HEAD: usize = 8 << 10;
/// The environment of a process, which is text between zero bytes.
const ENVIRONMENT: &str = "environ";

/// A file that was opened, or not.
pub(super) enum Opened {
    /// To be read from its beginning.
    File(File),
    /// Left alone.
    Skipped(Skipped),
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    /// It is none of text.
    Binary,
}

/// Files below a path, or it itself.
pub(super) fn walk(path: &Path) -> impl Iterator<Item = io::Result<PathBuf>> {
    let entries = walkdir::WalkDir::new(path).follow_links(false).into_iter();
    entries.filter_map(|entry| match entry {
        Ok(entry) => {
            // What was named itself may be a link to a file.
            let is_file = entry.file_type().is_file() || entry.depth() == 0 && entry.path().is_file();
            is_file.then(|| Ok(entry.into_path()))
        }
        Err(error) => Some(Err(error.into())),
    })
}

/// Opens a file.
///
/// # Errors
/// It can't be read.
pub(super) fn open(path: &Path, binary: bool) -> io::Result<Opened> {
    let mut file = File::open(path)?;
    if binary || path.file_name().is_some_and(|name| name == ENVIRONMENT) {
        return Ok(Opened::File(file));
    }
    let mut head = vec![0; HEAD];
    let count = file.read(&mut head)?;
    if head.get(..count).unwrap_or_default().contains(&0) {
        return Ok(Opened::Skipped(Skipped::Binary));
    }
    file.rewind()?;
    Ok(Opened::File(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_and_binaries_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("inner")).unwrap();
        std::fs::write(at("inner/.env"), "A=1").unwrap();
        std::fs::write(at(".gitignore"), ".env").unwrap();
        std::fs::write(at("binary"), b"\0").unwrap();
        std::fs::write(at(ENVIRONMENT), b"A=1\0").unwrap();
        std::os::unix::fs::symlink("/etc", at("link")).unwrap();
        let mut found: Vec<PathBuf> = walk(folder.path()).collect::<io::Result<_>>().unwrap();
        found.sort();
        assert_eq!(found, [at(".gitignore"), at("binary"), at(ENVIRONMENT), at("inner/.env")]);
        for (name, binary, is_skipped) in [
            ("binary", false, true),
            ("binary", true, false),
            (ENVIRONMENT, false, false),
            ("inner/.env", false, false),
        ] {
            let opened = open(&at(name), binary).unwrap();
            assert_eq!(matches!(opened, Opened::Skipped(Skipped::Binary)), is_skipped, "{name}");
        }
        assert_eq!(walk(&at("inner/.env")).count(), 1);
        assert!(walk(&at("none")).next().unwrap().is_err());
    }
}
