//! A folder at one moment: its segments by chain and number, and the checkpoint beside them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    super::{
        about::Anchor,
        directory::{self, Closed, Contents},
        line::LINE_MAX,
        scan,
    },
    report::Finding,
};

/// How often a folder is looked at until two looks agree.
const LOOKS: usize = 20;

/// A segment and where it is.
pub(super) struct Part {
    pub(super) segment: u64,
    pub(super) path: PathBuf,
    /// Opened, with its length then, if it may still grow.
    pub(super) open: Option<(File, u64)>,
    /// The same segment, packed.
    pub(super) twin: Option<PathBuf>,
}

/// The last checkpoint as the folder has it.
pub(super) enum Beside {
    Missing,
    Damaged,
    Is(Anchor),
}

pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) chains: BTreeMap<Uuid, Vec<Part>>,
    /// The chain that is being written.
    pub(super) written: Option<Uuid>,
    pub(super) beside: Beside,
    pub(super) foreign: Vec<Finding>,
    pub(super) bad: Vec<Finding>,
    pub(super) notes: Vec<Finding>,
    /// Bytes of all segments.
    pub(super) bytes: u64,
}

/// What is there, in an order in which a service that goes on writing does not look like damage.
struct Look {
    contents: Contents,
    anchor: Option<Vec<u8>>,
    current: Option<(File, u64)>,
}

impl Look {
    fn take(directory: &Path) -> io::Result<Self> {
        let contents = directory::list(directory)?;
        let anchor = optional(fs::read(directory.join(directory::ANCHOR)))?;
        let current = match &contents.current {
            Some(path) if path.is_file() => optional(File::open(path))?,
            Some(_) | None => None,
        };
        let current = current.map(|file| file.metadata().map(|now| (file, now.len()))).transpose()?;
        Ok(Self { contents, anchor, current })
    }

    /// Nothing was closed, packed or signed while it was taken.
    fn is_settled(&self, directory: &Path) -> io::Result<bool> {
        let anchor = optional(fs::read(directory.join(directory::ANCHOR)))?;
        Ok(self.anchor == anchor && self.contents == directory::list(directory)?)
    }
}

fn optional<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

impl Folder {
    /// # Errors
    /// It is not there, or can't be read.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        // An absent folder would be listed as an empty one.
        fs::read_dir(directory)?;
        let mut look = Look::take(directory)?;
        for _ in 0..LOOKS {
            if look.is_settled(directory)? {
                break;
            }
            look = Look::take(directory)?;
        }
        let Look { contents, anchor, current } = look;
        let mut folder = Self {
            path: directory.to_owned(),
            chains: BTreeMap::new(),
            written: None,
            beside: anchor.map_or(Beside::Missing, |bytes| beside(&bytes)),
            foreign: Vec::new(),
            bad: Vec::new(),
            notes: Vec::new(),
            bytes: 0,
        };
        contents.foreign.iter().for_each(|path| folder.strange(path));
        for closed in contents.closed {
            folder.closed(closed)?;
        }
        match (contents.current, current) {
            (Some(path), Some(current)) => folder.current(path, current)?,
            (Some(path), None) => folder.strange(&path),
            (None, _) => {}
        }
        folder.drafts()?;
        Ok(folder)
    }

    fn strange(&mut self, path: &Path) {
        self.foreign.push(Finding::about(path, "this is no file of the log"));
    }

    /// Closed segments come by number, and of one number the packed one comes second.
    fn closed(&mut self, Closed { chain, segment, path }: Closed) -> io::Result<()> {
        let plain = directory::closed(&self.path, chain, segment);
        let is_named = path == plain || path == plain.with_extension("log.zst");
        let metadata = match fs::metadata(&path) {
            // A link that leads nowhere; otherwise it was packed or removed at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(&path).is_ok() => {
                None
            }
            metadata => Some(metadata?),
        };
        let Some(metadata) = metadata.filter(|metadata| is_named && metadata.is_file()) else {
            self.strange(&path);
            return Ok(());
        };
        let parts = self.chains.entry(chain).or_default();
        if let Some(before) = parts.last_mut().filter(|before| before.segment == segment) {
            before.twin = Some(path);
            return Ok(());
        }
        self.bytes += metadata.len();
        parts.push(Part { segment, path, open: None, twin: None });
        Ok(())
    }

    fn current(&mut self, path: PathBuf, (file, length): (File, u64)) -> io::Result<()> {
        let mut front = vec![0; LINE_MAX.min(usize::try_from(length).unwrap_or(LINE_MAX))];
        let mut read = 0;
        while let Some(rest) = front.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        front.truncate(read);
        let Some(end) = memchr::memchr(b'\n', &front) else {
            if front.len() == LINE_MAX {
                self.bad.push(at_first_line(&path, "it does not begin as a segment does"));
            } else {
                self.notes.push(Finding::about(&path, "the segment had only just begun: it holds no record"));
            }
            return Ok(());
        };
        let Some(header) = scan::header(front.get(..end).unwrap_or_default()) else {
            self.bad.push(at_first_line(&path, "it does not begin as a segment does"));
            return Ok(());
        };
        self.bytes += length;
        self.written = Some(header.chain);
        let part = Part { segment: header.segment, path, open: Some((file, length)), twin: None };
        self.chains.entry(header.chain).or_default().push(part);
        Ok(())
    }

    /// What a crash left of a file that was about to be packed is no damage.
    fn drafts(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("audit") && name.ends_with(".tmp") {
                self.notes.push(Finding::about(&path, "an unfinished file, which is not looked at"));
            }
        }
        Ok(())
    }
}

fn at_first_line(path: &Path, what: &str) -> Finding {
    Finding { line: Some(1), ..Finding::about(path, what) }
}

/// Exactly one line: an edit of this file is found whatever it changes.
fn beside(bytes: &[u8]) -> Beside {
    let line = bytes.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    line.and_then(Anchor::read).map_or(Beside::Damaged, Beside::Is)
}
