//! Counts the bytes that are read, for whoever waits.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{self, Read},
};

/// Bytes between two reports.
const STEP: u64 = 4 << 20;

pub(super) struct Meter<'a> {
    done: Cell<u64>,
    told: Cell<u64>,
    total: u64,
    progress: RefCell<&'a mut dyn FnMut(u64, u64)>,
    failed: Cell<bool>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(total: u64, progress: &'a mut dyn FnMut(u64, u64)) -> Self {
        progress(0, total);
        Self {
            done: Cell::default(),
            told: Cell::default(),
            total,
            progress: RefCell::new(progress),
            failed: Cell::default(),
        }
    }

    /// The disk has failed, not what it holds.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.get()
    }

    fn count(&self, bytes: u64) {
        let done = self.done.get() + bytes;
        self.done.set(done);
        if done - self.told.get() >= STEP || done == self.total {
            self.told.set(done);
            // A service may have written more since they were counted.
            (self.progress.borrow_mut())(done.min(self.total), self.total);
        }
    }
}

/// The first bytes of a file.
pub(super) struct Metered<'a, 'b> {
    pub(super) file: File,
    pub(super) left: u64,
    pub(super) meter: &'a Meter<'b>,
}

impl Read for Metered<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let into = into.get_mut(..room).unwrap_or_default();
        match self.file.read(into) {
            Ok(read) => {
                self.left -= read as u64;
                self.meter.count(read as u64);
                Ok(read)
            }
            Err(error) => {
                self.meter.failed.set(error.kind() != io::ErrorKind::Interrupted);
                Err(error)
            }
        }
    }
}
