//! The actor that owns the log. It has a thread of its own: a slow disk holds up nobody but those who wait for it.
//!
//! Group commit comes by itself: whatever has come while a group was written is the next one. Between two that come close together it looks
//! around for a moment rather than sleep at once (see [`super::pace`]).

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use serde_json::{Map, json};
use tokio::sync::watch;

use super::{
    about::{self, Anchor, Prunable},
    group::{Group, Records, Returned},
    handle::{Shared, Start},
    log::Log,
    pace::Pace,
    security::SecurityLog,
    sink::Copies,
    voucher::Voucher,
};

/// How long it goes on until everything else has its turn.
const TURN: Duration = Duration::from_millis(5);
/// How often it looks whether a checkpoint is due, and whether it can write again.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct AuditLogger {
    start: Start,
    shared: Arc<Shared>,
    anchors: Arc<watch::Sender<Option<Anchor>>>,
    /// Without one, the log waits for the disk itself.
    voucher: Option<Voucher>,
    log: Option<Log>,
    copies: Copies,
    security: SecurityLog,
    /// Since when nothing could be written, and how many records that nobody was answered for were left out.
    failing: Option<(DateTime<Utc>, usize)>,
    /// The file has it already; it is a sink that fails.
    is_noted: bool,
    pace: Pace,
}

/// There is something in the inbox.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// A line that segments are going to be removed.
#[derive(Message)]
#[rtype(result = "io::Result<()>")]
pub(super) struct Prune(pub(super) Prunable);

/// Nothing comes any more: sign the end.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Close;

impl AuditLogger {
    pub(super) fn new(mut start: Start, shared: Arc<Shared>, anchors: watch::Sender<Option<Anchor>>) -> Self {
        let security = SecurityLog::new(start.options.directory.clone());
        let anchors = Arc::new(anchors);
        let voucher = Voucher::start(start.options.directory.clone(), Arc::clone(&anchors));
        if let Err(error) = &voucher {
            tracing::warn!(%error, "the audit log waits for the disk itself");
        }
        let copies = Copies::start(std::mem::take(&mut start.sinks), &shared.not_copied);
        Self {
            start,
            shared,
            anchors,
            voucher: voucher.ok(),
            log: None,
            copies,
            security,
            failing: None,
            is_noted: false,
            pace: Pace::default(),
        }
    }

    /// Writes what has come, if anything.
    fn flush(&mut self) -> bool {
        let mut groups = self.shared.inbox.take();
        let has_come = !groups.is_empty();
        // Whoever waited has answered that nothing was done, so nothing was.
        let late: Vec<_> = groups.extract_if(.., |group| group.written.is_closed()).collect();
        self.leave_out(&late);
        if !groups.is_empty() {
            self.write_down(groups);
        }
        has_come
    }

    fn write_down(&mut self, groups: Vec<Group>) {
        let began = Instant::now();
        let written =
            self.write(|log, now| log.append(groups.iter().flat_map(|group| group.records.iter()), now));
        self.shared.wrote(
            groups.iter().map(|group| group.records.len()).sum(),
            began.elapsed(),
            written.is_ok(),
        );
        if written.is_ok() {
            let notable: Vec<u8> = groups.iter().flat_map(|group| lines(&group.notable)).collect();
            if !notable.is_empty() {
                self.security.write(&notable);
            }
        } else {
            self.leave_out(&groups);
        }
        for group in groups {
            // Whoever waited may have given up; the lines are written all the same.
            let _gone = group.written.send(Returned { is_written: written.is_ok(), room: group.records });
        }
    }

    fn leave_out(&mut self, groups: &[Group]) {
        let count: usize = groups.iter().map(|group| group.records.len()).sum();
        if count > 0 {
            let now = self.start.clock.now();
            self.failing.get_or_insert((now, 0)).1 += count;
        }
    }

    /// Does something with the log, which is opened first if need be.
    fn write(
        &mut self,
        work: impl Fn(&mut Log, DateTime<Utc>) -> io::Result<Option<Anchor>>,
    ) -> io::Result<()> {
        let now = self.start.clock.now();
        let is_copied = self.copies.is_any();
        let done = self.opened(now).map(|log| {
            if is_copied {
                log.copy_lines();
            }
            let done = work(log, now);
            let lines = log.take_copy();
            (done, lines)
        });
        self.is_noted = self.failing.is_some() && done.as_ref().is_ok_and(|(done, _)| done.is_ok());
        // Whatever is in the file is copied, also where the rest of it failed.
        let done = done.and_then(|(done, lines)| self.copies.write(&lines).and(done));
        self.shared.stuck.store(false, Ordering::Release);
        self.shared.writable.store(done.is_ok(), Ordering::Release);
        match done {
            Ok(anchor) => {
                if let Some((since, left_out)) = self.failing.take() {
                    tracing::info!(%since, left_out, "the audit log is written again");
                }
                if let Some(anchor) = anchor {
                    self.anchors.send_replace(Some(anchor));
                }
                Ok(())
            }
            Err(error) => {
                if self.failing.is_none() {
                    tracing::error!(%error, "the audit log can't be written; keys are not used until it can");
                    self.failing = Some((now, 0));
                }
                Err(error)
            }
        }
    }

    /// Waits until what is signed is on the disk.
    fn settle(&self) -> io::Result<()> {
        self.voucher.as_ref().map_or(Ok(()), Voucher::settle)
    }

    fn opened(&mut self, now: DateTime<Utc>) -> io::Result<&mut Log> {
        let log = match self.log.take() {
            Some(log) => log,
            None => {
                let Start { options, signer, known, .. } = &self.start;
                let log = Log::open(options.clone(), Arc::clone(signer), known.clone(), now)?;
                match &self.voucher {
                    Some(voucher) => log.vouched_for_by(voucher.clone()),
                    None => log,
                }
            }
        };
        let log = self.log.insert(log);
        if let Some((since, left_out)) = self.failing.filter(|_| !self.is_noted) {
            // Said before anything else, and once, however often it is tried in vain.
            let members = [("since", json!(since)), ("left_out", json!(left_out))];
            let members = Map::from_iter(members.map(|(name, value)| (name.to_owned(), value)));
            log.note_instead(about::RESUMED, members);
        }
        Ok(log)
    }
}

impl Drop for AuditLogger {
    fn drop(&mut self) {
        // However it ended, nobody is to wait for it.
        self.shared.inbox.give_up();
    }
}

/// Objects, each on a line.
fn lines(records: &Records) -> impl Iterator<Item = u8> {
    records.iter().flat_map(|record| record.iter().copied().chain(std::iter::once(b'\n')))
}

impl Actor for AuditLogger {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // A folder that can't be used shows at once, not at the first request.
        let _failed = self.write(Log::checkpoint);
        context.run_interval(TICK, |logger, _| {
            let tried = if logger.failing.is_some() {
                logger.write(Log::checkpoint)
            } else {
                logger.write(Log::tick)
            };
            // It has been told already.
            drop(tried);
        });
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.flush();
        Running::Stop
    }
}

impl Handler<Wake> for AuditLogger {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        let began = Instant::now();
        loop {
            let looked = Instant::now();
            if self.flush() {
                self.pace.came(looked);
            }
            let now = Instant::now();
            if now - began > TURN {
                // Ticks and the rest of the mailbox; it stays awake.
                return context.notify(Wake);
            }
            if self.pace.lingers(now) {
                thread::yield_now();
            } else if self.shared.inbox.leave() {
                return;
            }
        }
    }
}

impl Handler<Prune> for AuditLogger {
    type Result = io::Result<()>;

    fn handle(&mut self, Prune(prunable): Prune, _: &mut Self::Context) -> Self::Result {
        self.flush();
        self.write(|log, now| log.prune(&prunable, now))?;
        // Nothing is removed before it is said for good.
        self.settle()
    }
}

impl Handler<Close> for AuditLogger {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Self::Context) {
        self.flush();
        // Whatever fails has been told already.
        let _told = self.write(Log::checkpoint).and_then(|()| self.settle());
    }
}
