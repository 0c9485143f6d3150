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
        let is_over = self.0.elapsed() >= LONGEST;
        if is_over {
            actix_web::rt::task::yield_now().await;
            self.0 = Instant::now();
        }
        is_over
    }
}
