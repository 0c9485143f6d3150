//! The folder of the log: `audit.log`, where lines go, `audit-<chain>-<segment>.log[.zst]`, which are closed, and `anchor.json`, the last
//! checkpoint.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::about::Anchor;

/// The open segment.
pub const CURRENT: &str = "audit.log";
/// The last checkpoint.
pub const ANCHOR: &str = "anchor.json";
/// Beside the log: a short one of changes and refusals, for people.
pub const SECURITY: &str = "security.log";
/// What stands in the way of [`CURRENT`] is put aside under this name and the time.
const FOREIGN: &str = "foreign-";
const COMPRESSED: &str = ".zst";

/// A closed segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closed {
    /// Chain.
    pub chain: Uuid,
    /// Number.
    pub segment: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Closed {
    /// It is compressed.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "zst")
    }

    fn of(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(COMPRESSED).unwrap_or(name);
        let (chain, segment) = name.strip_prefix("audit-")?.strip_suffix(".log")?.rsplit_once('-')?;
        Some(Self { chain: chain.parse().ok()?, segment: segment.parse().ok()?, path })
    }
}

/// What is in the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The open segment.
    pub current: Option<PathBuf>,
    /// Closed ones, by chain and number.
    pub closed: Vec<Closed>,
    /// What is not the log's.
    pub foreign: Vec<PathBuf>,
}

/// Lists a folder; one that is not there is empty.
///
/// # Errors
/// It can't be read.
pub fn list(directory: &Path) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(contents),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            CURRENT => contents.current = Some(path),
            ANCHOR => {}
            name if name.starts_with(SECURITY) || name.ends_with(".tmp") => {}
            _ => match Closed::of(path.clone()) {
                Some(closed) => contents.closed.push(closed),
                None => contents.foreign.push(path),
            },
        }
    }
    contents.closed.sort();
    contents.foreign.sort();
    Ok(contents)
}

/// Where a closed segment goes.
#[must_use]
pub fn closed(directory: &Path, chain: Uuid, segment: u64) -> PathBuf {
    directory.join(format!("audit-{chain}-{segment:08}.log"))
}

/// Where something goes that is in the way.
pub(super) fn foreign(directory: &Path, millis: i64) -> PathBuf {
    directory.join(format!("{FOREIGN}{millis}"))
}

/// Makes the folder, for its owner alone.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Makes the file that lines go to. There must be none.
pub(super) fn create(directory: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(directory.join(CURRENT))
}

/// Opens the file that lines go to, as it is.
pub(super) fn reopen(directory: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(directory.join(CURRENT))
}

/// A segment's lines, unpacked where it is compressed.
///
/// # Errors
/// It can't be read.
pub fn read(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    const BUFFER: usize = 256 << 10;
    let file = File::open(path)?;
    if path.extension().is_some_and(|extension| extension == "zst") {
        let lines: Box<dyn Read + Send> = Box::new(zstd::Decoder::new(file)?);
        return Ok(Box::new(BufReader::with_capacity(BUFFER, lines)));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
}

/// The last checkpoint that was put down in the folder.
///
/// # Errors
/// It can't be read; `InvalidData` when it is none.
pub fn anchor(directory: &Path) -> io::Result<Option<Anchor>> {
    match fs::read_to_string(directory.join(ANCHOR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(text) => match Anchor::read(text.trim_end_matches('\n')) {
            Some(anchor) => Ok(Some(anchor)),
            None => Err(io::ErrorKind::InvalidData.into()),
        },
    }
}

/// Puts a checkpoint down: all of it or the one before.
pub(super) fn put_anchor(directory: &Path, anchor: &Anchor) -> io::Result<()> {
    let (path, draft) = (directory.join(ANCHOR), directory.join(format!("{ANCHOR}.tmp")));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(anchor.line.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_data()?;
    fs::rename(draft, path)
}
