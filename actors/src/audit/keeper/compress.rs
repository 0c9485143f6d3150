//! Closed segments, made smaller. While the segment itself is there, it is the truth: a copy beside it is made anew.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::audit::directory;

const LEVEL: i32 = 3;
/// Binary logarithm of the bytes in which it looks for repetitions. Lines are alike, so that more would find no more, and take megabytes
/// for as long as a segment is read or written.
const WINDOW_LOG: u32 = 17;
const BUFFER: usize = 256 << 10;
const COMPRESSED: &str = ".zst";
/// End of the name of a copy that is not whole yet.
const DRAFT: &str = ".zst.tmp";

/// Compresses every closed segment of a folder, oldest first.
///
/// # Errors
/// The first one that could not be; the others are still to do.
pub(super) fn all(directory: &Path) -> io::Result<()> {
    forget_drafts(directory)?;
    for closed in directory::list(directory)?.closed.iter().filter(|closed| !closed.is_compressed()) {
        one(directory, &closed.path)?;
    }
    Ok(())
}

/// What a crash has left behind; nobody else makes such files.
fn forget_drafts(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(DRAFT.as_bytes())) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

pub(super) fn one(directory: &Path, path: &Path) -> io::Result<()> {
    let (draft, packed) = (with_end(path, DRAFT), with_end(path, COMPRESSED));
    if let Err(error) = write(path, &draft) {
        // The room that it took is needed.
        let _left = fs::remove_file(&draft);
        return Err(error);
    }
    fs::rename(&draft, &packed)?;
    // The copy is there for good before the segment goes.
    File::open(directory)?.sync_all()?;
    fs::remove_file(path)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn write(path: &Path, draft: &Path) -> io::Result<()> {
    let source = File::open(path)?;
    let modified = source.metadata()?.modified()?;
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    let mut encoder = zstd::Encoder::new(target, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.window_log(WINDOW_LOG)?;
    io::copy(&mut BufReader::with_capacity(BUFFER, source), &mut encoder)?;
    let mut target = encoder.finish()?;
    target.flush()?;
    // How old a segment is goes by its last line.
    target.set_modified(modified)?;
    target.sync_all()?;
    let copy = zstd::Decoder::new(File::open(draft)?)?;
    if are_equal(File::open(path)?, copy)? {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the compressed segment is not what it was made from"))
    }
}

fn are_equal(one: impl Read, other: impl Read) -> io::Result<bool> {
    let [mut one, mut other] = [
        BufReader::with_capacity(BUFFER, Box::new(one) as Box<dyn Read + '_>),
        BufReader::with_capacity(BUFFER, Box::new(other) as Box<dyn Read + '_>),
    ];
    loop {
        let (left, right) = (io::BufRead::fill_buf(&mut one)?, io::BufRead::fill_buf(&mut other)?);
        let length = left.len().min(right.len());
        if length == 0 {
            return Ok(left.len() == right.len());
        }
        if left.get(..length) != right.get(..length) {
            return Ok(false);
        }
        io::BufRead::consume(&mut one, length);
        io::BufRead::consume(&mut other, length);
    }
}
