//! Work that takes long, one piece after the other on each worker.
//!
//! A worker that began whatever comes would answer nobody in time once more comes than it can do: each request waits for all that came with
//! it. So whoever has costly work takes a place in a line that is short, or is refused at once, and between two pieces the worker looks after
//! everything else, the refusals included.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use claviger_actors::keyring::record::KeyRecord;
use claviger_entity::KeyType;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};

/// What may wait on one worker.
const LINE_MAX: Duration = Duration::from_millis(40);
/// What takes longer than this, by its nature, waits in line.
const COSTLY: Duration = Duration::from_micros(150);
/// An item of a batch that is not costly by itself.
const ITEM: Duration = Duration::from_micros(4);

thread_local! {
    static LINE: Line = Line { waiting: Rc::default(), worker: Arc::new(Semaphore::new(1)) };
}

struct Line {
    waiting: Rc<Cell<Duration>>,
    /// Whoever waits longest is next.
    worker: Arc<Semaphore>,
}

/// A place in the line of this worker; gives it up when dropped.
pub(crate) struct Place {
    cost: Duration,
    waiting: Rc<Cell<Duration>>,
    worker: Arc<Semaphore>,
}

/// The right to keep the worker busy, until it is dropped.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// Time that a signature under the primary of a key takes, where that is long. Orders of magnitude will do.
pub(crate) fn cost(record: &KeyRecord) -> Option<Duration> {
    if record.key_type == KeyType::Es384 {
        return Some(Duration::from_micros(200));
    }
    if !record.key_type.is_rsa() {
        return None;
    }
    Some(Duration::from_micros(match record.bits {
        Some(4096..) => 1_700,
        Some(3072..) => 800,
        Some(_) | None => 300,
    }))
}

/// What so many items take, where that is long.
pub(crate) fn cost_of_items(count: usize) -> Option<Duration> {
    let cost = ITEM * u32::try_from(count).unwrap_or(u32::MAX);
    (cost >= COSTLY).then_some(cost)
}

impl Place {
    /// Takes a place.
    ///
    /// # Errors
    /// `overloaded`: the line is long enough.
    pub(crate) fn take(cost: Duration) -> Result<Self, Problem> {
        LINE.with(|line| {
            let waiting = line.waiting.get();
            if waiting >= LINE_MAX {
                let detail = "more of such work is waiting than can be done in time; try again, or elsewhere";
                return Err(Problem::new(Code::Overloaded, detail));
            }
            line.waiting.set(waiting + cost);
            Ok(Self { cost, waiting: Rc::clone(&line.waiting), worker: Arc::clone(&line.worker) })
        })
    }

    /// Waits until it is one's turn. What has come in meanwhile, of whatever kind, is looked after first.
    ///
    /// # Errors
    /// `overloaded`: the worker is ending.
    pub(crate) async fn turn(&self) -> Result<Turn, Problem> {
        let permit = Arc::clone(&self.worker).acquire_owned().await;
        let permit = permit.map_err(|_| Problem::new(Code::Overloaded, "the node is leaving"))?;
        actix_web::rt::task::yield_now().await;
        Ok(Turn(permit))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.set(self.waiting.get().saturating_sub(self.cost));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::future::join_all;

    use super::*;

    #[actix_web::test]
    async fn the_line_is_bounded_and_in_order() {
        let cost = Duration::from_millis(10);
        let places: Vec<_> = (0..4).map(|_| Place::take(cost).unwrap()).collect();
        assert!(Place::take(cost).is_err_and(|problem| problem.code == Code::Overloaded));
        let order = RefCell::new(Vec::new());
        let work = places.iter().enumerate().map(|(number, place)| {
            let order = &order;
            async move {
                let _turn = place.turn().await.unwrap();
                order.borrow_mut().push(number);
            }
        });
        join_all(work).await;
        assert_eq!(*order.borrow(), [0, 1, 2, 3]);
        drop(places);
        assert!(Place::take(cost).is_ok());
    }

    #[actix_web::test]
    async fn whoever_gives_up_makes_room() {
        let place = Place::take(Duration::from_millis(1)).unwrap();
        let turn = place.turn().await.unwrap();
        let other = Place::take(LINE_MAX).unwrap();
        let late = tokio::time::timeout(Duration::from_millis(10), other.turn()).await;
        assert!(late.is_err());
        drop((late, other, turn));
        let _turn = place.turn().await.unwrap();
    }

    #[test]
    fn only_long_work_has_a_cost() {
        assert_eq!(cost_of_items(1), None);
        assert_eq!(cost_of_items(100), Some(Duration::from_micros(400)));
        assert_eq!(cost_of_items(1_000), Some(Duration::from_millis(4)));
    }
}
