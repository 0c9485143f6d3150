//! The actor that owns the file. It has a thread of its own: a slow disk holds up nobody but those who wait for it.
//!
//! Group commit comes from the mailbox: a line that arrives is put aside and a flush is queued behind whatever waits already, so
//! everything that came in the meantime is written together.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::segment::Segment;

/// Lines that are written together at most.
const GROUP_MAX: usize = 1_024;

pub(super) struct AuditLogger {
    segment: Segment,
    lines: Vec<u8>,
    waiting: Vec<oneshot::Sender<bool>>,
}

/// One line and whoever waits for it.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Append {
    pub(super) line: Vec<u8>,
    pub(super) written: oneshot::Sender<bool>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl AuditLogger {
    pub(super) const fn new(segment: Segment) -> Self {
        Self { segment, lines: Vec::new(), waiting: Vec::new() }
    }

    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let written = self.segment.append(&self.lines);
        if let Err(error) = &written {
            tracing::error!(%error, "the audit log can't be written");
        }
        self.lines.clear();
        for waiting in self.waiting.drain(..) {
            // Whoever waited may have given up; the line is written all the same.
            let _gone = waiting.send(written.is_ok());
        }
    }
}

impl Actor for AuditLogger {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.flush();
        Running::Stop
    }
}

impl Handler<Append> for AuditLogger {
    type Result = ();

    fn handle(&mut self, message: Append, context: &mut Self::Context) {
        self.lines.extend_from_slice(&message.line);
        self.waiting.push(message.written);
        if self.waiting.len() >= GROUP_MAX {
            self.flush();
        } else if self.waiting.len() == 1 {
            context.notify(Flush);
        }
    }
}

impl Handler<Flush> for AuditLogger {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Self::Context) {
        self.flush();
    }
}
