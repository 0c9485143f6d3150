//! Long work in slices, so that a worker's other requests are not held up.

use std::time::{Duration, Instant};

/// Longest slice.
const LONGEST: Duration = Duration::from_millis(1);

/// A slice of long work.
pub(super) struct Slice(Instant);

impl Slice {
    /// Begins one.
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Gives way if the slice is over, and begins the next; tells whether it did.
    pub(super) async fn rest(&mut self) -> bool {
        let is_over = self.is_over();
        if is_over {
            actix_web::rt::task::yield_now().await;
            self.begin_again();
        }
        is_over
    }

    /// It has lasted as long as it may.
    pub(super) fn is_over(&self) -> bool {
        self.0.elapsed() >= LONGEST
    }

    /// The next one, after having given way.
    pub(super) fn begin_again(&mut self) {
        self.0 = Instant::now();
    }
}
