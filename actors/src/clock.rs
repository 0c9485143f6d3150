//! Time as a parameter.
//!
//! Everything that judges by time asks a [`Clock`], so that tests run ten years in a second. The system clock is read here and
//! nowhere else.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

/// Where `now` comes from.
pub trait Clock: Send + Sync + Debug {
    /// The present, with a resolution of one millisecond, as rows keep it.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> DateTime<Utc> {
        truncate(Utc::now())
    }
}

/// The database's clock, carried on by the time since the machine started: what one node issues must not lie in the future of another,
/// and nobody who sets the machine's clock sets this one. Without a database that has a clock it is the machine's.
#[derive(Debug, Default)]
pub struct ClusterClock {
    /// The database's time when the machine started, in milliseconds; zero = never asked.
    started_ms: AtomicI64,
    /// Half of the round trip of that question: it may be off by so much.
    error_ms: AtomicI64,
}

/// A question to the database's clock that took longer is no measure, unless there is none yet.
const SAMPLE_MAX: Duration = Duration::from_millis(500);

impl ClusterClock {
    /// How far the database's clock is ahead of the machine's, in milliseconds.
    #[must_use]
    pub fn offset_ms(&self) -> i64 {
        self.now().timestamp_millis() - SystemClock.now().timestamp_millis()
    }

    /// How far it may be off, in milliseconds.
    #[must_use]
    pub fn error_ms(&self) -> i64 {
        self.error_ms.load(Ordering::Relaxed)
    }

    /// Takes over the database's clock, which was asked and had answered at these uptimes.
    pub(crate) fn set(&self, database_ms: i64, asked: Duration, answered: Duration) {
        let took = answered.saturating_sub(asked);
        if took > SAMPLE_MAX && self.started_ms.load(Ordering::Relaxed) != 0 {
            return;
        }
        self.started_ms.store(database_ms - millis(asked + took / 2), Ordering::Relaxed);
        self.error_ms.store(millis(took) / 2 + 1, Ordering::Relaxed);
    }
}

impl Clock for ClusterClock {
    fn now(&self) -> DateTime<Utc> {
        match self.started_ms.load(Ordering::Relaxed) {
            0 => SystemClock.now(),
            started => DateTime::from_timestamp_millis(started + millis(uptime())).unwrap_or_default(),
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Time since the machine started, suspended or not. It can't be set, so how old something is goes by it.
#[must_use]
pub fn uptime() -> Duration {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(at.tv_nsec).unwrap_or(0))
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct VirtualClock(AtomicI64);

impl VirtualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn new(now: DateTime<Utc>) -> Self {
        Self(AtomicI64::new(now.timestamp_millis()))
    }

    /// Moves the clock.
    pub fn advance(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

fn truncate(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at)
}
