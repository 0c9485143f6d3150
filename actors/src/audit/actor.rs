//! The actor that owns the log. It has a thread of its own: a slow disk holds up nobody but those who wait for it.
//!
//! Group commit comes from the mailbox: a group that arrives is put aside and a flush is queued behind whatever waits already, so
//! everything that came in the meantime is written together.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use serde_json::{Map, json};
use tokio::sync::watch;

use super::{
    about::{self, Anchor, Prunable},
    group::{Group, Records},
    handle::{Shared, Start},
    log::Log,
    security::SecurityLog,
    sink::Copies,
};

/// Records that are written together at most.
const GROUP_MAX: usize = 1_024;
/// How often it looks whether a checkpoint is due, and whether it can write again.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct AuditLogger {
    start: Start,
    shared: Arc<Shared>,
    anchors: watch::Sender<Option<Anchor>>,
    log: Option<Log>,
    copies: Copies,
    security: SecurityLog,
    groups: Vec<Group>,
    gathered: usize,
    /// Since when nothing could be written, and how many records that nobody was answered for were left out.
    failing: Option<(DateTime<Utc>, usize)>,
    /// The file has it already; it is a sink that fails.
    is_noted: bool,
}

/// A group and whoever waits for it.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Append(pub(super) Group);

/// A line that segments are going to be removed.
#[derive(Message)]
#[rtype(result = "io::Result<()>")]
pub(super) struct Prune(pub(super) Prunable);

/// Nothing comes any more: sign the end.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Close;

#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl AuditLogger {
    pub(super) fn new(mut start: Start, shared: Arc<Shared>, anchors: watch::Sender<Option<Anchor>>) -> Self {
        let security = SecurityLog::new(start.options.directory.clone());
        let copies = Copies::start(std::mem::take(&mut start.sinks), &shared.not_copied);
        Self {
            start,
            shared,
            anchors,
            log: None,
            copies,
            security,
            groups: Vec::new(),
            gathered: 0,
            failing: None,
            is_noted: false,
        }
    }

    fn flush(&mut self) {
        if self.groups.is_empty() {
            return;
        }
        self.gathered = 0;
        let (groups, late): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.groups).into_iter().partition(|group| !group.written.is_closed());
        // Whoever waited has answered that nothing was done, so nothing was.
        self.leave_out(&late);
        if groups.is_empty() {
            return;
        }
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
            let _gone = group.written.send(written.is_ok());
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

    fn opened(&mut self, now: DateTime<Utc>) -> io::Result<&mut Log> {
        let log = match self.log.take() {
            Some(log) => log,
            None => {
                let Start { options, signer, known, .. } = &self.start;
                Log::open(options.clone(), Arc::clone(signer), known.clone(), now)?
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

impl Handler<Append> for AuditLogger {
    type Result = ();

    fn handle(&mut self, Append(group): Append, context: &mut Self::Context) {
        self.gathered += group.records.len();
        self.groups.push(group);
        if self.gathered >= GROUP_MAX {
            self.flush();
        } else if self.groups.len() == 1 {
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

impl Handler<Prune> for AuditLogger {
    type Result = io::Result<()>;

    fn handle(&mut self, Prune(prunable): Prune, _: &mut Self::Context) -> Self::Result {
        self.flush();
        self.write(|log, now| log.prune(&prunable, now))
    }
}

impl Handler<Close> for AuditLogger {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Self::Context) {
        self.flush();
        let _told = self.write(Log::checkpoint);
    }
}
