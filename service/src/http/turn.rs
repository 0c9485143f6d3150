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
/// Of pieces that take as long as this, so few: whoever is taken on waits for hardly longer than they would with nobody too many here.
const LONG: Duration = Duration::from_millis(1);
const LONG_MAX: usize = 4;
/// What takes longer than this, by its nature, waits in line.
const COSTLY: Duration = Duration::from_micros(150);
/// An item of a batch that is not costly by itself.
const ITEM: Duration = Duration::from_micros(4);

thread_local! {
    static LINE: Rc<Line> = Rc::new(Line {
        waiting: Cell::default(),
        long: Cell::default(),
        worker: Arc::new(Semaphore::new(1)),
        batches: Arc::new(Semaphore::new(1)),
    });
}

struct Line {
    waiting: Cell<Duration>,
    /// How many long pieces that is.
    long: Cell<usize>,
    /// Whoever waits longest is next.
    worker: Arc<Semaphore>,
    /// Of all batches one item at a time is in line, so that whoever asks for one thing waits for one of theirs and not for one of each.
    batches: Arc<Semaphore>,
}

/// A place in the line of this worker; gives it up when dropped.
pub(crate) struct Place {
    cost: Duration,
    is_batch: bool,
    line: Rc<Line>,
}

/// The right to keep the worker busy, until it is dropped.
#[expect(dead_code, reason = "held, not read")]
pub(crate) struct Turn(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

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
    /// Takes a place for one piece of work.
    ///
    /// # Errors
    /// `overloaded`: the line is long enough.
    pub(crate) fn take(cost: Duration) -> Result<Self, Problem> {
        Self::join(cost, false)
    }

    /// Takes a place for a batch, whose items take as long as this, or which takes as long as a whole.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn take_for_batch(cost: Duration) -> Result<Self, Problem> {
        Self::join(cost, true)
    }

    fn join(cost: Duration, is_batch: bool) -> Result<Self, Problem> {
        let place = Self { cost, is_batch, line: LINE.with(Rc::clone) };
        let Line { waiting, long, .. } = &*place.line;
        let is_full = waiting.get() >= LINE_MAX || place.is_long() && long.get() >= LONG_MAX;
        // Given up with the place, whatever becomes of it.
        waiting.set(waiting.get() + cost);
        long.set(long.get() + usize::from(place.is_long()));
        if is_full {
            let detail = "more of such work is waiting than can be done in time; try again, or elsewhere";
            return Err(Problem::new(Code::Overloaded, detail));
        }
        Ok(place)
    }

    fn is_long(&self) -> bool {
        !self.is_batch && self.cost >= LONG
    }

    /// Waits until it is one's turn. What has come in meanwhile, of whatever kind, is looked after first.
    ///
    /// # Errors
    /// `overloaded`: the worker is ending.
    pub(crate) async fn turn(&self) -> Result<Turn, Problem> {
        let next = async |line: &Arc<Semaphore>| {
            let permit = Arc::clone(line).acquire_owned().await;
            permit.map_err(|_| Problem::new(Code::Overloaded, "the node is leaving"))
        };
        let batch = if self.is_batch { Some(next(&self.line.batches).await?) } else { None };
        let worker = next(&self.line.worker).await?;
        actix_web::rt::task::yield_now().await;
        Ok(Turn(worker, batch))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Line { waiting, long, .. } = &*self.line;
        waiting.set(waiting.get().saturating_sub(self.cost));
        long.set(long.get().saturating_sub(usize::from(self.is_long())));
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
    async fn of_long_pieces_few_wait_whatever_else_does() {
        let long: Vec<_> = (0..LONG_MAX).map(|_| Place::take(LONG).unwrap()).collect();
        assert!(Place::take(LONG).is_err_and(|problem| problem.code == Code::Overloaded));
        let (short, batch) = (Place::take(COSTLY).unwrap(), Place::take_for_batch(LONG * 2).unwrap());
        drop(long);
        let again: Vec<_> = (0..LONG_MAX).map(|_| Place::take(LONG).unwrap()).collect();
        assert!(Place::take(LONG).is_err());
        drop((short, batch, again));
        // Whoever was refused has left nothing behind.
        LINE.with(|line| assert_eq!((line.waiting.get(), line.long.get()), (Duration::ZERO, 0)));
    }

    #[actix_web::test]
    async fn one_item_of_all_batches_is_in_line() {
        let cost = Duration::from_millis(2);
        let batches: Vec<_> = (0..3).map(|_| Place::take_for_batch(cost).unwrap()).collect();
        let single = Place::take(cost).unwrap();
        let order = RefCell::new(Vec::new());
        let items = |number: usize, place| {
            let order = &order;
            async move {
                for _ in 0..2 {
                    let _turn = Place::turn(place).await.unwrap();
                    order.borrow_mut().push(number);
                }
            }
        };
        let first = batches[0].turn().await.unwrap();
        let work = batches.iter().chain([&single]).enumerate().map(|(number, place)| items(number, place));
        let all = join_all(work);
        let begin = async {
            actix_web::rt::task::yield_now().await;
            drop(first);
        };
        futures_util::join!(all, begin);
        let order = order.into_inner();
        assert_eq!(order.len(), 8);
        // The single one comes before all batches but the one at work, and batches take turns.
        assert_eq!(order[0], 3, "{order:?}");
        let of_batches: Vec<_> = order.iter().filter(|number| **number < 3).copied().collect();
        assert_eq!(of_batches, [0, 1, 2, 0, 1, 2]);
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
