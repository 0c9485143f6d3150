//! Where lines go beside the file.
//!
//! Whoever demands that a sink has every record before an answer leaves has it written in the logger's own turn: when it fails, nothing is
//! answered, and when it hangs, the logger does, which is noticed. All others have a thread and a queue of their own, and lose what they
//! can't take in time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
};

/// Groups of lines that may wait for one sink.
const WAITING_GROUPS: usize = 256;

/// A place that lines are copied to.
pub trait Sink: Send {
    /// What it is called in logs and metrics; no password.
    fn name(&self) -> &str;

    /// Writes whole lines, each with its newline, exactly as they are in the file.
    ///
    /// # Errors
    /// They are not there, or not all of them; the next call tries anew with the next lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// Sinks of a log.
#[derive(Default)]
pub struct Sinks {
    /// Nothing is answered before these have the record.
    pub required: Vec<Box<dyn Sink>>,
    /// These may lose some.
    pub optional: Vec<Box<dyn Sink>>,
}

/// Sinks at work.
pub(super) struct Copies {
    required: Vec<Box<dyn Sink>>,
    optional: Vec<Queue>,
}

struct Queue {
    name: String,
    lines: SyncSender<Arc<[u8]>>,
    lost: Arc<AtomicU64>,
    is_losing: bool,
}

impl Copies {
    /// Starts the threads of those that have one.
    pub(super) fn start(sinks: Sinks, lost: &Arc<AtomicU64>) -> Self {
        let optional = sinks.optional.into_iter().map(|sink| Queue::start(sink, lost)).collect();
        Self { required: sinks.required, optional }
    }

    /// There is any.
    pub(super) const fn is_any(&self) -> bool {
        !self.required.is_empty() || !self.optional.is_empty()
    }

    /// Copies lines.
    ///
    /// # Errors
    /// One that must have them has not.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if !self.optional.is_empty() {
            let shared: Arc<[u8]> = lines.into();
            for queue in &mut self.optional {
                queue.send(&shared);
            }
        }
        for sink in &mut self.required {
            sink.write(lines).map_err(|error| io::Error::other(format!("{}: {error}", sink.name())))?;
        }
        Ok(())
    }
}

impl Queue {
    fn start(mut sink: Box<dyn Sink>, lost: &Arc<AtomicU64>) -> Self {
        let (lines, queue) = sync_channel::<Arc<[u8]>>(WAITING_GROUPS);
        let (name, lost) = (sink.name().to_owned(), Arc::clone(lost));
        let failed = Arc::clone(&lost);
        let work = move || {
            let mut is_failing = false;
            for lines in queue {
                let written = sink.write(&lines);
                if let Err(error) = &written {
                    failed.fetch_add(count(&lines), Ordering::Relaxed);
                    if !is_failing {
                        tracing::warn!(sink = sink.name(), %error, "audit records are not copied");
                    }
                }
                is_failing = written.is_err();
            }
        };
        // Without a thread its queue is closed, and everything counts as lost.
        if let Err(error) = thread::Builder::new().name("audit-sink".to_owned()).spawn(work) {
            tracing::error!(%error, "a sink of the audit log has no thread");
        }
        Self { name, lines, lost, is_losing: false }
    }

    fn send(&mut self, lines: &Arc<[u8]>) {
        let sent = self.lines.try_send(Arc::clone(lines));
        if let Err(TrySendError::Full(lines) | TrySendError::Disconnected(lines)) = &sent {
            self.lost.fetch_add(count(lines), Ordering::Relaxed);
            if !self.is_losing {
                tracing::warn!(
                    sink = self.name,
                    "audit records come faster than they are copied; some are not"
                );
            }
        }
        self.is_losing = sent.is_err();
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    struct Fake {
        lines: Arc<Mutex<Vec<u8>>>,
        fails: bool,
        gate: Option<mpsc::Receiver<()>>,
    }

    impl Sink for Fake {
        fn name(&self) -> &str {
            "fake"
        }

        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            if let Some(gate) = &self.gate {
                let _opened = gate.recv();
            }
            if self.fails {
                return Err(io::Error::other("no"));
            }
            self.lines.lock().unwrap().extend_from_slice(lines);
            Ok(())
        }
    }

    #[test]
    fn what_must_be_there_is_there_and_what_need_not_holds_nobody_up() {
        let (copy, lost) = (Arc::default(), Arc::default());
        let fake = |fails, gate| Box::new(Fake { lines: Arc::clone(&copy), fails, gate }) as Box<dyn Sink>;
        let mut copies =
            Copies::start(Sinks { required: vec![fake(false, None)], optional: Vec::new() }, &lost);
        copies.write(b"1\n2\n").unwrap();
        assert_eq!(*copy.lock().unwrap(), b"1\n2\n");
        let mut copies =
            Copies::start(Sinks { required: vec![fake(true, None)], optional: Vec::new() }, &lost);
        assert_eq!(copies.write(b"3\n").unwrap_err().to_string(), "fake: no");
        // One that hangs.
        let (opened, gate) = mpsc::channel();
        let mut copies =
            Copies::start(Sinks { required: Vec::new(), optional: vec![fake(false, Some(gate))] }, &lost);
        for _ in 0..WAITING_GROUPS + 10 {
            copies.write(b"4\n5\n").unwrap();
        }
        let count = lost.load(Ordering::Relaxed);
        assert!((18..=20).contains(&count), "{count}");
        drop(opened);
    }
}
