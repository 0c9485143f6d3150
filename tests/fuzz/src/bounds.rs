//! What one execution may cost.
//!
//! A parser that is slow or greedy on some input is an attack as much as one that panics, and no sanitizer finds it. The target `bounds`
//! breaks each bound on purpose.

use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// CPU time of one execution.
pub const CPU_LIMIT: Duration = Duration::from_millis(50);
/// Bytes that one execution may hold at once.
pub const MEMORY_LIMIT: usize = 64 << 20;
/// Executions that must all be too slow. An interrupted one is not the parser's fault.
const ATTEMPTS: usize = 3;

/// Runs a target's body, within bounds.
///
/// # Panics
/// The body panics, takes more than [`CPU_LIMIT`] each time it is tried, or holds more than [`MEMORY_LIMIT`].
pub fn bounded(body: impl Fn()) {
    bounded_within(CPU_LIMIT, body);
}

/// [`bounded`] with another limit, for a parser that counters and debug assertions make several times slower than it is.
///
/// # Panics
/// As there.
pub fn bounded_within(limit: Duration, body: impl Fn()) {
    let mut spent = Duration::ZERO;
    for _ in 0..ATTEMPTS {
        spent = measured(&body);
        if spent <= limit {
            return;
        }
    }
    panic!("one execution took {spent:?} of CPU time; {limit:?} are allowed");
}

fn measured(body: impl Fn()) -> Duration {
    ALLOCATOR.reset_peak_usage();
    let (held, start) = (ALLOCATOR.current_usage(), thread_cpu_time());
    body();
    let spent = thread_cpu_time().saturating_sub(start);
    let peak = ALLOCATOR.peak_usage().saturating_sub(held);
    assert!(peak <= MEMORY_LIMIT, "one execution held {peak} bytes; {MEMORY_LIMIT} are allowed");
    spent
}

/// Of this thread only: a busy machine does not make an execution slow.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
