//! How far a long command is, on standard error: a line that is written over on a terminal, and a line per tenth elsewhere.

use std::io::{IsTerminal as _, Write as _};

/// Parts below which nothing is said to those who are no terminal.
const LONG: u64 = 10_000;

/// What was said last.
pub(super) struct Progress {
    what: &'static str,
    shown: Option<u64>,
    is_open: bool,
}

impl Progress {
    /// Of what is done, such as `backed up`.
    pub(super) const fn of(what: &'static str) -> Self {
        Self { what, shown: None, is_open: false }
    }

    pub(super) fn show(&mut self, table: &str, done: u64, total: u64) {
        let mut error = std::io::stderr().lock();
        let is_terminal = error.is_terminal();
        if total == 0 || !is_terminal && total < LONG {
            return;
        }
        let percent = done.saturating_mul(100) / total;
        let step = if is_terminal { percent } else { percent / 10 * 10 };
        if self.shown.replace(step) == Some(step) {
            return;
        }
        let what = self.what;
        // Whoever does not look at it misses nothing.
        let _closed = if is_terminal {
            self.is_open = true;
            write!(error, "\r\x1b[K{what} {percent} % of {total} rows ({table})").and_then(|()| error.flush())
        } else {
            writeln!(error, "{what} {step} % of {total} rows")
        };
    }

    pub(super) fn end(&self) {
        if self.is_open {
            let _closed = writeln!(std::io::stderr());
        }
    }
}
