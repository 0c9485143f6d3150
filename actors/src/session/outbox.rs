//! What is on its way to a client: a queue that is counted in bytes, and ends the session of a client that does not take what it is sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::sync::Notify;

use super::close::Close;

/// Most bytes that wait for a client.
pub const WAITING_MAX_BYTES: usize = 1_572_864;
/// Events wait for the client once so many bytes do, so that a long tale leaves room for answers.
const CROWDED_BYTES: usize = WAITING_MAX_BYTES / 2;
/// What every item costs beside its text, so that many small ones count too.
const ITEM_BYTES: usize = 64;
/// Room of a queue that is kept while it is empty.
const ROOM_KEPT: usize = 16;

/// One thing to be sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// A text frame.
    Text(Arc<str>),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// The end; nothing follows it.
    Close(Close),
}

impl Outgoing {
    fn bytes(&self) -> usize {
        let length = match self {
            Self::Text(text) => text.len(),
            Self::Pong(echo) => echo.len(),
            Self::Close(_) => 0,
        };
        weight(length)
    }
}

/// What something of this length counts for. The whole ring may be more than would ever fit: it counts as much as it can while it still
/// finds a place in an empty queue, and finds none in another.
const fn weight(length: usize) -> usize {
    if fits(length) { ITEM_BYTES + length } else { CROWDED_BYTES }
}

/// A client that has nothing else to take could be sent a text of this length.
#[must_use]
pub const fn fits(length: usize) -> bool {
    length <= WAITING_MAX_BYTES - ITEM_BYTES
}

/// The queue. Whoever has something to say pushes; the connection takes.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    ended: Notify,
    /// Something was taken, or nothing will be.
    taken: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Outgoing>,
    bytes: usize,
    /// A close is in it, or was taken: nothing is added any more.
    is_closed: bool,
    /// Calls that are in work.
    working: u32,
    /// How it ends when they are answered.
    retires: Option<Close>,
    taker: Option<Waker>,
}

impl Outbox {
    /// Adds something. `false` = the session has ended, perhaps by this.
    pub fn push(&self, item: Outgoing) -> bool {
        let mut queue = self.queue();
        if queue.is_closed {
            return false;
        }
        let bytes = item.bytes();
        if queue.bytes + bytes > WAITING_MAX_BYTES {
            queue.end(Close::slow_consumer(), true);
            drop(queue);
            self.tell_end();
            return false;
        }
        queue.bytes += bytes;
        queue.items.push_back(item);
        queue.wake();
        true
    }

    /// Ends the session after what is in the queue.
    pub fn close(&self, close: Close) {
        self.queue().end(close, false);
        self.tell_end();
    }

    /// Waits until a text of this length may follow without crowding out answers, or the session has ended.
    pub async fn room(&self, length: usize) {
        loop {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            // Before the look, so that nothing is missed between the two.
            taken.as_mut().enable();
            {
                let queue = self.queue();
                if queue.is_closed || queue.items.is_empty() || queue.bytes + weight(length) <= CROWDED_BYTES
                {
                    return;
                }
            }
            taken.await;
        }
    }

    /// Ends the session once what is in work has been answered; nothing else is begun.
    pub fn retire(&self, close: Close) {
        let mut queue = self.queue();
        if queue.working > 0 {
            queue.retires.get_or_insert(close);
            return;
        }
        queue.end(close, false);
        drop(queue);
        self.tell_end();
    }

    /// A call is begun. `false` = none may be any more.
    #[must_use]
    pub fn begin(&self) -> bool {
        let mut queue = self.queue();
        if queue.is_closed || queue.retires.is_some() {
            return false;
        }
        queue.working += 1;
        true
    }

    /// It has been answered, or given up.
    pub fn done(&self) {
        let mut queue = self.queue();
        queue.working = queue.working.saturating_sub(1);
        if queue.working == 0
            && let Some(close) = queue.retires.take()
        {
            queue.end(close, false);
            drop(queue);
            self.tell_end();
        }
    }

    /// Ends the session now: what waits is dropped.
    pub fn cut(&self, close: Close) {
        self.queue().end(close, true);
        self.tell_end();
    }

    /// Nobody takes anything any more.
    pub fn abandon(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        queue.items = VecDeque::new();
        queue.bytes = 0;
        queue.wake();
        drop(queue);
        self.tell_end();
    }

    fn tell_end(&self) {
        self.ended.notify_one();
        self.taken.notify_waiters();
    }

    /// Waits for the end, for the one who tidies up after it.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Nothing is added any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue().is_closed
    }

    /// Takes what comes next; `None` after the end.
    pub fn poll_take(&self, context: &Context<'_>) -> Poll<Option<Outgoing>> {
        let mut queue = self.queue();
        match queue.items.pop_front() {
            Some(item) => {
                queue.bytes = queue.bytes.saturating_sub(item.bytes());
                if queue.items.is_empty() && queue.items.capacity() > ROOM_KEPT {
                    queue.items = VecDeque::new();
                }
                drop(queue);
                self.taken.notify_waiters();
                Poll::Ready(Some(item))
            }
            None if queue.is_closed => Poll::Ready(None),
            None => {
                if !queue.taker.as_ref().is_some_and(|taker| taker.will_wake(context.waker())) {
                    queue.taker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn end(&mut self, close: Close, drops: bool) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        if drops {
            self.items = VecDeque::new();
            self.bytes = 0;
        }
        self.items.push_back(Outgoing::Close(close));
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(taker) = self.taker.take() {
            taker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use proptest::prelude::*;

    use super::*;

    fn text(bytes: usize) -> Outgoing {
        Outgoing::Text("x".repeat(bytes).into())
    }

    fn take(outbox: &Outbox) -> Poll<Option<Outgoing>> {
        outbox.poll_take(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_client_that_takes_nothing_is_closed_and_what_waited_is_dropped() {
        let outbox = Outbox::default();
        let mut sent = 0;
        while outbox.push(text(100_000)) {
            sent += 100_000;
        }
        assert!(sent <= WAITING_MAX_BYTES && sent + 101_000 > WAITING_MAX_BYTES);
        assert!(outbox.is_closed() && !outbox.push(text(1)));
        assert_eq!(take(&outbox), Poll::Ready(Some(Outgoing::Close(Close::slow_consumer()))));
        assert_eq!(take(&outbox), Poll::Ready(None));
    }

    /// Done, as far as it is without anything else happening.
    fn is_done(future: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_long_tale_waits_for_the_client_and_leaves_room_for_answers() {
        let outbox = Outbox::default();
        let mut told = 0;
        while is_done(&mut Box::pin(outbox.room(100_000))) {
            assert!(outbox.push(text(100_000)));
            told += 1;
        }
        assert_eq!(told, 7);
        assert!(outbox.push(text(700_000)), "an answer");
        let mut waits = Box::pin(outbox.room(100_000));
        assert!(!is_done(&mut waits));
        for _ in 0..7 {
            assert!(take(&outbox).is_ready() && !is_done(&mut waits));
        }
        assert!(take(&outbox).is_ready() && is_done(&mut waits));
        // Whoever waits learns of the end, whichever it is.
        let ends: [fn(&Outbox); 4] = [
            |outbox| outbox.close(Close::restart()),
            |outbox| outbox.cut(Close::revoked()),
            |outbox| outbox.retire(Close::restart()),
            Outbox::abandon,
        ];
        for end in ends {
            let outbox = Outbox::default();
            assert!(outbox.push(text(CROWDED_BYTES)));
            let mut waits = Box::pin(outbox.room(1));
            assert!(!is_done(&mut waits));
            end(&outbox);
            assert!(is_done(&mut waits));
        }
    }

    #[test]
    fn what_would_never_fit_goes_when_nothing_else_waits() {
        let outbox = Outbox::default();
        assert!(fits(WAITING_MAX_BYTES - ITEM_BYTES) && !fits(WAITING_MAX_BYTES - ITEM_BYTES + 1));
        let ring = 9 * WAITING_MAX_BYTES;
        assert!(outbox.push(text(1)));
        assert!(!is_done(&mut Box::pin(outbox.room(ring))));
        assert!(take(&outbox).is_ready());
        assert!(is_done(&mut Box::pin(outbox.room(ring))));
        assert!(outbox.push(text(ring)));
        assert!(!is_done(&mut Box::pin(outbox.room(ring))), "one at a time");
        assert!(outbox.push(text(1)), "and answers may follow");
        assert_eq!(take(&outbox), Poll::Ready(Some(text(ring))));
    }

    #[test]
    fn small_things_count_too() {
        let outbox = Outbox::default();
        let pushed = (0..).take_while(|_| outbox.push(Outgoing::Pong(Vec::new()))).count();
        assert_eq!(pushed, WAITING_MAX_BYTES / ITEM_BYTES);
    }

    #[test]
    fn an_orderly_end_comes_after_what_was_said() {
        let outbox = Outbox::default();
        assert!(outbox.push(text(1)));
        outbox.close(Close::restart());
        outbox.close(Close::revoked());
        assert_eq!(take(&outbox), Poll::Ready(Some(text(1))));
        assert_eq!(take(&outbox), Poll::Ready(Some(Outgoing::Close(Close::restart()))));
        assert_eq!(take(&outbox), Poll::Ready(None));
        let cut = Outbox::default();
        assert!(cut.push(text(1)));
        cut.cut(Close::revoked());
        assert_eq!(take(&cut), Poll::Ready(Some(Outgoing::Close(Close::revoked()))));
    }

    #[test]
    fn what_is_in_work_is_answered_before_the_end() {
        let outbox = Outbox::default();
        assert!(outbox.begin() && outbox.begin());
        outbox.retire(Close::restart());
        assert!(!outbox.begin(), "nothing else is begun");
        for _ in 0..2 {
            assert!(outbox.push(text(1)));
            outbox.done();
        }
        assert!(outbox.is_closed());
        assert_eq!([take(&outbox), take(&outbox)], [Poll::Ready(Some(text(1))), Poll::Ready(Some(text(1)))]);
        assert_eq!(take(&outbox), Poll::Ready(Some(Outgoing::Close(Close::restart()))));
        let idle = Outbox::default();
        idle.retire(Close::restart());
        assert!(idle.is_closed());
    }

    proptest! {
        /// The count is that of what is there, whatever is pushed and taken.
        #[test]
        fn the_count_is_right(steps in proptest::collection::vec((any::<bool>(), 0..300_000_usize), 0..60)) {
            let outbox = Outbox::default();
            for (takes, bytes) in steps {
                if takes { let _item = take(&outbox); } else { outbox.push(text(bytes)); }
                let queue = outbox.queue();
                let sum: usize = queue.items.iter().map(Outgoing::bytes).sum();
                prop_assert!(queue.is_closed || queue.bytes == sum);
                prop_assert!(queue.bytes <= WAITING_MAX_BYTES);
            }
        }
    }
}
