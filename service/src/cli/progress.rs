//! How far a long command is, on standard error: a line that is written over on a terminal, and a line per tenth elsewhere.

use std::io::{IsTerminal as _, Write as _};

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// Rows of a database.
    Rows,
    /// Bytes of files.
    Bytes,
}

impl Unit {
    /// What is shorter is nothing to be told of where there is no terminal.
    const fn long(self) -> u64 {
        match self {
            Self::Rows => 10_000,
            Self::Bytes => 100_000_000,
        }
    }

    fn shown(self, total: u64) -> String {
        match self {
            Self::Rows => format!("{total} rows"),
            Self::Bytes => format!("{} MB", total / 1_000_000),
        }
    }
}

/// What was said last.
pub(super) struct Progress {
    what: &'static str,
    unit: Unit,
    shown: Option<u64>,
    is_open: bool,
}

impl Progress {
    /// Of what is done, such as `backed up`.
    pub(super) const fn of(what: &'static str, unit: Unit) -> Self {
        Self { what, unit, shown: None, is_open: false }
    }

    /// Says how far it is, and at what of it where that is known.
    pub(super) fn show(&mut self, at: Option<&str>, done: u64, total: u64) {
        let mut error = std::io::stderr().lock();
        let is_terminal = error.is_terminal();
        if total == 0 || !is_terminal && total < self.unit.long() {
            return;
        }
        let percent = done.saturating_mul(100) / total;
        let step = if is_terminal { percent } else { percent / 10 * 10 };
        if self.shown.replace(step) == Some(step) {
            return;
        }
        let (what, whole) = (self.what, self.unit.shown(total));
        // Whoever does not look at it misses nothing.
        let _closed = if is_terminal {
            self.is_open = true;
            let at = at.map(|at| format!(" ({at})")).unwrap_or_default();
            write!(error, "\r\x1b[K{what} {percent} % of {whole}{at}").and_then(|()| error.flush())
        } else {
            writeln!(error, "{what} {step} % of {whole}")
        };
    }

    pub(super) fn end(&self) {
        if self.is_open {
            let _closed = writeln!(std::io::stderr());
        }
    }
}
