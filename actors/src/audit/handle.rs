//! The door to the audit log.
//!
//! Each thread gathers what comes up in one turn of its loop and hands it over as one group: one message, one wake, however many
//! requests wait.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use actix::{Actor as _, Addr, Arbiter};
use async_trait::async_trait;
use serde::Serialize;
use tokio::{
    sync::{
        oneshot::{self, error::TryRecvError},
        watch,
    },
    time::error::Elapsed,
};

use super::{
    about::{Anchor, Prunable},
    actor::{AuditLogger, Close, Prune, Wake},
    group::{Group, Records, Returned},
    inbox::Inbox,
    keeper,
    log::Options,
    pace::Answers,
    record::RECORD_MAX,
    signed::Signer,
    sink::Sinks,
};
use crate::{
    clock::Clock,
    figures::{Reading, Spread, Timings},
};

/// Records of a thread that may wait to be written; beyond it operations are refused.
const WAITING_RECORDS: u64 = 4_096;
/// Longest time to wait for the last checkpoint at the end.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Writes records. Cheap to clone.
#[derive(Clone)]
pub struct AuditHandle {
    actor: Addr<AuditLogger>,
    shared: Arc<Shared>,
    anchors: watch::Receiver<Option<Anchor>>,
    deadline: Duration,
}

/// What a log starts with.
pub struct Start {
    /// How it is kept.
    pub options: Options,
    /// What it signs with.
    pub signer: Arc<dyn Signer>,
    /// The last checkpoint of its chain that is kept in the database.
    pub known: Option<Anchor>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// A write that takes longer counts as failed.
    pub deadline: Duration,
    /// Where lines go beside the file.
    pub sinks: Sinks,
}

/// What both sides know.
pub(super) struct Shared {
    pub(super) inbox: Inbox,
    waiting: Spread,
    /// A write has not come back within its time.
    pub(super) stuck: AtomicBool,
    pub(super) writable: AtomicBool,
    records: AtomicU64,
    groups: AtomicU64,
    failures: AtomicU64,
    writes: Timings,
    /// Records that a sink has not taken.
    pub(super) not_copied: Arc<AtomicU64>,
}

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Records written.
    pub records: u64,
    /// Writes that held them.
    pub groups: u64,
    /// Writes that failed.
    pub failures: u64,
    /// How long writes took.
    pub writes: Reading,
    /// Records that wait now.
    pub waiting: usize,
    /// Records that sinks which may lose some have lost.
    pub not_copied: u64,
}

/// The record is not in the log, so the operation must not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditUnavailable {
    /// Too many records wait.
    #[error("too many audit records are waiting")]
    Overloaded,
    /// The file can't be written.
    #[error("the audit log can't be written")]
    Unwritable,
    /// The write has not come back.
    #[error("the audit log does not answer")]
    Late,
}

impl Shared {
    pub(super) fn wrote(&self, records: usize, took: Duration, written: bool) {
        self.writes.observe(took);
        if written {
            self.records.fetch_add(records as u64, Ordering::Relaxed);
            self.groups.fetch_add(1, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl AuditHandle {
    /// Starts the log.
    #[must_use]
    pub fn start(start: Start) -> Self {
        let shared = Arc::new(Shared {
            inbox: Inbox::default(),
            waiting: Spread::default(),
            stuck: false.into(),
            writable: true.into(),
            records: 0.into(),
            groups: 0.into(),
            failures: 0.into(),
            writes: Timings::default(),
            not_copied: Arc::default(),
        });
        let (anchored, anchors) = watch::channel(start.known.clone());
        let deadline = start.deadline;
        let logger = AuditLogger::new(start, Arc::clone(&shared), anchored);
        let actor = AuditLogger::start_in_arbiter(&Arbiter::new().handle(), |_| logger);
        Self { actor, shared, anchors, deadline }
    }

    /// Adds a record to what is written next; resolves when it is in the file. `notable` ones, changes and refusals, are in the short log too.
    ///
    /// # Errors
    /// See [`AuditUnavailable`].
    pub fn append(&self, record: &impl Serialize, notable: bool) -> Written<'_> {
        let begun = Place::take(&self.shared).and_then(|place| {
            if self.is_stuck() {
                return Err(AuditUnavailable::Late);
            }
            Ok((place, self.join(record, notable)?))
        });
        Written { begun, slot: None }
    }

    /// A write has not come back: there is no use in trying.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.shared.stuck.load(Ordering::Acquire)
    }

    /// The last write came back, and was none that failed.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.shared.writable.load(Ordering::Acquire) && !self.is_stuck()
    }

    /// Counts.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            records: read(&self.shared.records),
            groups: read(&self.shared.groups),
            failures: read(&self.shared.failures),
            writes: self.shared.writes.read(),
            waiting: usize::try_from(self.shared.waiting.sum()).unwrap_or(usize::MAX),
            not_copied: read(&self.shared.not_copied),
        }
    }

    /// The last checkpoint, to be kept elsewhere.
    #[must_use]
    pub fn anchors(&self) -> watch::Receiver<Option<Anchor>> {
        self.anchors.clone()
    }

    /// Signs the end of the log, once nothing comes any more.
    pub async fn close(&self) {
        if tokio::time::timeout(CLOSE_MAX, self.actor.send(Close)).await.is_err() {
            tracing::warn!("the end of the audit log could not be signed in time");
        }
    }

    /// Adds a record to the group of this thread; the first one has it sent.
    fn join(&self, record: &impl Serialize, notable: bool) -> Result<Rc<Outcome>, AuditUnavailable> {
        let key = Arc::as_ptr(&self.shared).addr();
        let unfit = |error| {
            tracing::error!(%error, "a record can't be written");
            AuditUnavailable::Unwritable
        };
        GATHERED.with_borrow_mut(|gathered| {
            let position = match gathered.iter().position(|group| group.log == key) {
                Some(position) => position,
                None => {
                    gathered.push(Gathered::new(key));
                    actix::spawn(send(self.clone(), key));
                    gathered.len() - 1
                }
            };
            let group = gathered.get_mut(position).ok_or(AuditUnavailable::Unwritable)?;
            group.records.push(record, RECORD_MAX).map_err(unfit)?;
            if notable {
                group.notable.push(record, RECORD_MAX).map_err(unfit)?;
            }
            Ok(Rc::clone(&group.outcome))
        })
    }
}

#[async_trait]
impl keeper::Prune for AuditHandle {
    async fn prune(&self, prunable: Prunable) -> io::Result<()> {
        self.actor.send(Prune(prunable)).await.map_err(io::Error::other)?
    }
}

/// The answer of the writer, if it comes in time; within that, whether there is one.
async fn answer_of(
    mut answer: oneshot::Receiver<Returned>,
    deadline: Duration,
) -> Result<Option<Returned>, Elapsed> {
    let asked = Instant::now();
    let ask = || match answer.try_recv() {
        Ok(returned) => Some(Some(returned)),
        Err(TryRecvError::Closed) => Some(None),
        Err(TryRecvError::Empty) => None,
    };
    let answered = match ANSWERS.with(|answers| answers.look(ask)) {
        Some(early) => Ok(early),
        None => tokio::time::timeout(deadline, answer).await.map(Result::ok),
    };
    ANSWERS.with(|answers| answers.took(asked.elapsed()));
    answered
}

/// Sends what this thread has gathered for a log, and tells those who wait.
async fn send(handle: AuditHandle, log: usize) {
    let gathered = GATHERED.with_borrow_mut(|gathered| {
        let position = gathered.iter().position(|group| group.log == log)?;
        Some(gathered.swap_remove(position))
    });
    let Some(Gathered { records, notable, outcome, .. }) = gathered else { return };
    let (written, answer) = oneshot::channel();
    let group = Group { records, notable, written };
    let is_coming = !handle.shared.inbox.put(group) || handle.actor.try_send(Wake).is_ok();
    let result = if is_coming {
        match answer_of(answer, handle.deadline).await {
            Ok(Some(answer)) => {
                SPARE.set(answer.room.emptied());
                answer.is_written.then_some(()).ok_or(AuditUnavailable::Unwritable)
            }
            Ok(None) => Err(AuditUnavailable::Unwritable),
            Err(_late) => {
                if !handle.shared.stuck.swap(true, Ordering::AcqRel) {
                    tracing::error!(
                        "a write to the audit log does not come back; keys are not used until it does"
                    );
                }
                Err(AuditUnavailable::Late)
            }
        }
    } else {
        handle.shared.inbox.give_up();
        Err(AuditUnavailable::Unwritable)
    };
    outcome.tell(result);
}

/// One of the records that may wait.
struct Place<'a>(&'a Shared);

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Result<Self, AuditUnavailable> {
        let place = Self(shared);
        if shared.waiting.enter() < WAITING_RECORDS {
            return Ok(place);
        }
        Err(AuditUnavailable::Overloaded)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.leave();
    }
}

thread_local! {
    /// How soon the writer answers this thread.
    static ANSWERS: Answers = const { Answers::none() };
    /// Room that has come back.
    static SPARE: Cell<Records> = const { Cell::new(Records::none()) };
    /// What this thread has not sent yet, by log.
    static GATHERED: RefCell<Vec<Gathered>> = const { RefCell::new(Vec::new()) };
}

struct Gathered {
    log: usize,
    records: Records,
    notable: Records,
    outcome: Rc<Outcome>,
}

impl Gathered {
    fn new(log: usize) -> Self {
        Self { log, records: SPARE.take().with_room(), notable: Records::default(), outcome: Rc::default() }
    }
}

/// What became of a group, for everybody on this thread who has a record in it.
#[derive(Default)]
struct Outcome {
    result: Cell<Option<Result<(), AuditUnavailable>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Outcome {
    fn tell(&self, result: Result<(), AuditUnavailable>) {
        self.result.set(Some(result));
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

/// Resolves when a record is in the file, or is known not to be.
#[must_use = "a record may not have been written"]
pub struct Written<'a> {
    /// Its place among those that wait, until this is dropped, and what becomes of its group.
    begun: Result<(Place<'a>, Rc<Outcome>), AuditUnavailable>,
    slot: Option<usize>,
}

impl Future for Written<'_> {
    type Output = Result<(), AuditUnavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = {
            let outcome = match &self.begun {
                Ok((_, outcome)) => outcome,
                Err(unavailable) => return Poll::Ready(Err(*unavailable)),
            };
            if let Some(result) = outcome.result.get() {
                return Poll::Ready(result);
            }
            let mut waiting = outcome.waiting.borrow_mut();
            match self.slot.and_then(|slot| waiting.get_mut(slot)) {
                Some(waker) => waker.clone_from(context.waker()),
                None => waiting.push(context.waker().clone()),
            }
            waiting.len() - 1
        };
        if self.slot.is_none() {
            self.slot = Some(slot);
        }
        Poll::Pending
    }
}
