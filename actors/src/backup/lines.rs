//! Lines in and out of a file: JSON, compressed, encrypted.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use age::stream::{StreamReader, StreamWriter};
use claviger_crypto::digest::Sha256;

use super::{
    BackupError, Lock, Opening,
    format::{LINE_MAX, Line},
};

/// Fast, and most of what there is in a row is random anyway.
const LEVEL: i32 = 1;

/// What has been encrypted and not yet been taken away.
#[derive(Clone, Default)]
struct Outlet(Arc<Mutex<Vec<u8>>>);

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines.
pub(super) struct Writer {
    encoder: zstd::Encoder<'static, StreamWriter<Outlet>>,
    outlet: Outlet,
    hash: Sha256,
    line: Vec<u8>,
}

impl Writer {
    pub(super) fn new(lock: &Lock) -> Result<Self, BackupError> {
        let outlet = Outlet::default();
        let encoder = zstd::Encoder::new(lock.wrap(outlet.clone())?, LEVEL)?;
        Ok(Self { encoder, outlet, hash: Sha256::default(), line: Vec::new() })
    }

    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.encoder.write_all(&self.line)
    }

    /// Over all lines so far.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash.clone().finish()
    }

    /// What may be sent away.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.outlet.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rest.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        let outlet = self.encoder.finish()?.finish()?;
        Ok(std::mem::take(&mut *outlet.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

type Plain = BufReader<zstd::Decoder<'static, BufReader<StreamReader<BufReader<File>>>>>;

/// Reads lines, each no longer than [`LINE_MAX`].
pub(super) struct Reader {
    input: Plain,
    hash: Sha256,
    line: Vec<u8>,
}

impl Reader {
    pub(super) fn open(path: &Path, opening: &Opening) -> Result<Self, BackupError> {
        let decrypted = opening.unwrap(BufReader::new(File::open(path)?))?;
        let input = BufReader::new(zstd::Decoder::new(decrypted).map_err(damaged)?);
        Ok(Self { input, hash: Sha256::default(), line: Vec::new() })
    }

    /// The next line, which must be there.
    pub(super) fn next(&mut self) -> Result<Line, BackupError> {
        let before = std::mem::take(&mut self.line);
        self.hash.update(&before);
        let mut line = before;
        line.clear();
        let limit = LINE_MAX as u64;
        self.input.by_ref().take(limit).read_until(b'\n', &mut line).map_err(damaged)?;
        if line.last() != Some(&b'\n') {
            return Err(BackupError::Damaged(if line.is_empty() {
                "it ends too early"
            } else {
                "a line has no end"
            }));
        }
        let read =
            serde_json::from_slice(&line).map_err(|_| BackupError::Damaged("a line is no line of a backup"));
        self.line = line;
        read
    }

    /// Over all lines before the last one.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash.clone().finish()
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Result<(), BackupError> {
        if self.input.fill_buf().map_err(damaged)?.is_empty() {
            Ok(())
        } else {
            Err(BackupError::Damaged("something follows its end"))
        }
    }
}

/// A file that can't be read is one thing, what it holds another.
fn damaged(error: io::Error) -> BackupError {
    use io::ErrorKind::{InvalidData, Other, UnexpectedEof};
    if matches!(error.kind(), InvalidData | UnexpectedEof | Other) {
        BackupError::Damaged("it does not decrypt to its end")
    } else {
        error.into()
    }
}
