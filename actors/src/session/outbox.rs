//! What is on its way to a client: a queue that is counted in bytes, and ends the session of a client that does not take what it is sent.
//!
//! Whoever reads is not ended for what waits: answers and events wait outside of the queue until there is room in it, and no further call is
//! begun meanwhile. What all sessions of a node hold together stands in its [`Ledger`].

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::close::Close;

/// Most bytes that wait for a client.
pub const WAITING_MAX_BYTES: usize = 1_572_864;
/// Events wait for the client once so many bytes do, so that a long tale leaves room for answers.
const CROWDED_BYTES: usize = WAITING_MAX_BYTES / 2;
/// Answers wait once so many bytes do, so that there is room for what can't wait: the time, and what is wrong with a frame.
const ANSWERS_MAX_BYTES: usize = WAITING_MAX_BYTES - 64 * 1_024;
/// Most bytes that wait for the clients of a node together: those of eighty that take nothing. Beyond it whoever has taken nothing for longest is
/// ended, and what can wait does.
pub const LEDGER_MAX_BYTES: usize = 80 * WAITING_MAX_BYTES;
/// Looks at whether there is room in all sessions together, and their distance: in that time those that are jammed are ended.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(50);
/// What every item costs beside its text, so that many small ones count too.
const ITEM_BYTES: usize = 64;
/// Room of a queue that is kept while it is empty.
const ROOM_KEPT: usize = 16;

/// One thing to be sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// A text frame.
    Text(String),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// The end; nothing follows it.
    Close(Close),
}

impl Outgoing {
    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Pong(echo) => echo.len(),
            Self::Close(_) => 0,
        }
    }

    fn bytes(&self) -> usize {
        weight(self.length())
    }

    /// In memory, whatever it counts for.
    fn held(&self) -> usize {
        ITEM_BYTES + self.length()
    }
}

/// What something of this length counts for. The whole ring may be more than would ever fit: it counts as much as it can while it still
/// finds a place in an empty queue, and finds none in another.
const fn weight(length: usize) -> usize {
    if fits(length) { ITEM_BYTES + length } else { CROWDED_BYTES }
}

/// Longest answer, in bytes.
pub const ANSWER_MAX_BYTES: usize = ANSWERS_MAX_BYTES - ITEM_BYTES;

/// A client that has nothing else to take could be sent a text of this length.
#[must_use]
pub const fn fits(length: usize) -> bool {
    length <= ANSWER_MAX_BYTES
}

/// What waits for clients in all sessions of a node, in bytes.
#[derive(Debug, Default)]
pub struct Ledger(AtomicUsize);

impl Ledger {
    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Something of this length may follow.
    fn has_room(&self, length: usize) -> bool {
        self.bytes().saturating_add(length) <= LEDGER_MAX_BYTES
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A call under way: from before it is begun until its answer has found room.
#[derive(Debug)]
pub struct Turn<'a> {
    outbox: &'a Outbox,
    /// Of its answer, while that waits.
    bytes: usize,
}

impl Turn<'_> {
    /// Adds the answer once there is room for it, as long as the client takes anything: one that has taken nothing for so long is too slow.
    /// `false` = the session has ended.
    pub async fn answer(mut self, text: String, patience: Duration) -> bool {
        let (outbox, length) = (self.outbox, text.len());
        self.bytes = length;
        outbox.ledger.add(length);
        {
            let mut queue = outbox.queue();
            queue.greatest = length.max(queue.greatest / 2);
        }
        let mut waits = std::pin::pin!(outbox.when(|queue| queue.has_room(length, ANSWERS_MAX_BYTES)));
        loop {
            let since = outbox.jammed_since().unwrap_or_else(Instant::now);
            if tokio::time::timeout_at(since + patience, waits.as_mut()).await.is_ok() {
                return outbox.push(Outgoing::Text(text));
            }
            // It may have taken something meanwhile.
            if outbox.jammed_since().is_some_and(|since| since.elapsed() >= patience) {
                outbox.cut(Close::slow_consumer());
                return false;
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.outbox.ledger.remove(self.bytes);
        self.outbox.queue().turns -= 1;
        self.outbox.taken.notify_waiters();
    }
}

/// The queue. Whoever has something to say pushes; the connection takes.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    ledger: Arc<Ledger>,
    ended: Notify,
    /// Something was taken, or nothing will be.
    taken: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Outgoing>,
    bytes: usize,
    /// What was taken last and may not have been sent yet.
    handed: usize,
    /// Calls under way, whose answers may have to wait for room.
    turns: usize,
    /// How large their answers are, by those of before.
    greatest: usize,
    /// Since when there is something that was not taken.
    since: Option<Instant>,
    /// A close is in it, or was taken: nothing is added any more.
    is_closed: bool,
    /// Calls that are in work.
    working: u32,
    /// How it ends when they are answered.
    retires: Option<Close>,
    taker: Option<Waker>,
}

impl Outbox {
    /// One whose bytes stand in a ledger.
    #[must_use]
    pub fn within(ledger: Arc<Ledger>) -> Self {
        Self { ledger, queue: Mutex::default(), ended: Notify::new(), taken: Notify::new() }
    }

    /// Adds something. `false` = the session has ended, perhaps by this.
    pub fn push(&self, item: Outgoing) -> bool {
        let mut queue = self.queue();
        if queue.is_closed {
            return false;
        }
        if queue.bytes + item.bytes() > WAITING_MAX_BYTES {
            queue.end(Close::slow_consumer(), true, &self.ledger);
            drop(queue);
            self.tell_end();
            return false;
        }
        queue.add(item, &self.ledger);
        queue.wake();
        true
    }

    /// Ends the session after what is in the queue.
    pub fn close(&self, close: Close) {
        self.queue().end(close, false, &self.ledger);
        self.tell_end();
    }

    /// Waits until a text of this length may follow without crowding out answers, or the session has ended; for a while also until there is
    /// less in all sessions together.
    pub async fn room(&self, length: usize) {
        self.when(|queue| queue.has_room(length, CROWDED_BYTES)).await;
        for _ in 0..LOOKS {
            if self.ledger.has_room(length) || self.is_closed() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until a call may be begun: not more at a time than whose answers would find room together, by what the last ones were like. Once
    /// the session has ended nothing waits.
    pub async fn turn(&self) -> Turn<'_> {
        self.when(|queue| {
            let may = queue.is_closed
                || queue.turns == 0
                || (queue.turns + 1) * queue.greatest <= ANSWERS_MAX_BYTES;
            queue.turns += usize::from(may);
            may
        })
        .await;
        Turn { outbox: self, bytes: 0 }
    }

    async fn when(&self, is_so: impl Fn(&mut Queue) -> bool) {
        if is_so(&mut self.queue()) {
            return;
        }
        loop {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            // Before the look, so that nothing is missed between the two.
            taken.as_mut().enable();
            if is_so(&mut self.queue()) {
                return;
            }
            taken.await;
        }
    }

    /// Since when the client has taken nothing of what waits for it.
    #[must_use]
    pub fn jammed_since(&self) -> Option<Instant> {
        self.queue().since
    }

    /// Ends the session once what is in work has been answered; nothing else is begun.
    pub fn retire(&self, close: Close) {
        let mut queue = self.queue();
        if queue.working > 0 {
            queue.retires.get_or_insert(close);
            return;
        }
        queue.end(close, false, &self.ledger);
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
            queue.end(close, false, &self.ledger);
            drop(queue);
            self.tell_end();
        }
    }

    /// Ends the session now: what waits is dropped.
    pub fn cut(&self, close: Close) {
        self.queue().end(close, true, &self.ledger);
        self.tell_end();
    }

    /// Nobody takes anything any more.
    pub fn abandon(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        queue.clear(&self.ledger);
        self.ledger.remove(std::mem::take(&mut queue.handed));
        queue.since = None;
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
                // It stands in the ledger until it was sent.
                queue.bytes = queue.bytes.saturating_sub(item.bytes());
                queue.handed += item.held();
                queue.since = Some(Instant::now());
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

    /// What was taken so far has been sent, but for little.
    pub fn sent(&self) {
        let mut queue = self.queue();
        self.ledger.remove(std::mem::take(&mut queue.handed));
        if queue.items.is_empty() {
            queue.since = None;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let queue = self.queue.get_mut().unwrap_or_else(PoisonError::into_inner);
        queue.clear(&self.ledger);
        self.ledger.remove(queue.handed);
    }
}

impl Queue {
    /// A text of this length may follow: beside what waits, or since nothing does.
    fn has_room(&self, length: usize, most: usize) -> bool {
        self.is_closed || self.items.is_empty() || self.bytes + weight(length) <= most
    }

    fn add(&mut self, item: Outgoing, ledger: &Ledger) {
        self.bytes += item.bytes();
        ledger.add(item.held());
        self.since.get_or_insert_with(Instant::now);
        self.items.push_back(item);
    }

    fn clear(&mut self, ledger: &Ledger) {
        ledger.remove(self.items.iter().map(Outgoing::held).sum());
        self.items = VecDeque::new();
        self.bytes = 0;
    }

    fn end(&mut self, close: Close, drops: bool, ledger: &Ledger) {
        if drops {
            // How it ends may have been said before, and taken.
            let close = match self.items.back() {
                Some(Outgoing::Close(before)) => Some(before.clone()),
                Some(Outgoing::Text(_) | Outgoing::Pong(_)) | None => (!self.is_closed).then_some(close),
            };
            self.clear(ledger);
            if let Some(close) = close {
                self.add(Outgoing::Close(close), ledger);
            }
        } else if !self.is_closed {
            self.add(Outgoing::Close(close), ledger);
        }
        self.is_closed = true;
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
        Outgoing::Text("x".repeat(bytes))
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
        assert!(fits(ANSWER_MAX_BYTES) && !fits(ANSWER_MAX_BYTES + 1));
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

    /// However large the answers of a client that reads, it is not ended; and no more are made at a time than find room together.
    #[tokio::test]
    async fn answers_wait_for_a_client_that_reads() {
        let ledger = Arc::new(Ledger::default());
        let outbox = Arc::new(Outbox::within(Arc::clone(&ledger)));
        let (begun, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..32 {
            let (outbox, begun, answered) = (Arc::clone(&outbox), Arc::clone(&begun), Arc::clone(&answered));
            tokio::spawn(async move {
                let turn = outbox.turn().await;
                begun.fetch_add(1, Ordering::Relaxed);
                if turn.answer("x".repeat(800_000), Duration::from_secs(30)).await {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut taken = 0;
        while taken < 32 {
            // All that can go on without it does.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(take(&outbox).is_ready());
            outbox.sent();
            taken += 1;
        }
        assert_eq!((answered.load(Ordering::Relaxed), outbox.is_closed()), (32, false));
        assert_eq!((ledger.bytes(), outbox.jammed_since()), (0, None));
        // From now on it is known how large they are.
        let first = outbox.turn().await;
        assert!(!is_done(&mut Box::pin(async { drop(outbox.turn().await) })));
        drop(first);
        for _ in 0..8 {
            assert!(outbox.turn().await.answer("x".to_owned(), Duration::from_secs(30)).await);
        }
        let turns = [outbox.turn().await, outbox.turn().await];
        drop(turns);
        drop(outbox);
        assert_eq!(ledger.bytes(), 0);
    }

    #[tokio::test]
    async fn an_answer_does_not_wait_for_a_client_that_takes_nothing() {
        const PATIENCE: Duration = Duration::from_millis(100);
        let ledger = Arc::new(Ledger::default());
        let outbox = Outbox::within(Arc::clone(&ledger));
        assert!(outbox.turn().await.answer("x".repeat(1_400_000), PATIENCE).await);
        let began = Instant::now();
        assert!(!outbox.turn().await.answer("x".repeat(1_400_000), PATIENCE).await);
        assert!(began.elapsed() < 20 * PATIENCE);
        assert_eq!(take(&outbox), Poll::Ready(Some(Outgoing::Close(Close::slow_consumer()))));
        assert_eq!(ledger.bytes(), ITEM_BYTES, "the close, until it was sent");
        outbox.sent();
        assert_eq!(ledger.bytes(), 0);
    }

    #[test]
    fn what_waits_is_dropped_also_after_an_orderly_end_was_announced() {
        let outbox = Outbox::default();
        assert!(outbox.push(text(1)));
        outbox.close(Close::restart());
        outbox.cut(Close::slow_consumer());
        assert_eq!(take(&outbox), Poll::Ready(Some(Outgoing::Close(Close::restart()))));
        outbox.cut(Close::slow_consumer());
        assert_eq!(take(&outbox), Poll::Ready(None));
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
            let ledger = Arc::new(Ledger::default());
            let outbox = Outbox::within(Arc::clone(&ledger));
            for (takes, bytes) in steps {
                if takes { let _item = take(&outbox); } else { outbox.push(text(bytes)); }
                if bytes % 2 == 0 { outbox.sent(); }
                if bytes % 97 == 0 { outbox.cut(Close::revoked()); }
                let queue = outbox.queue();
                let sum: usize = queue.items.iter().map(Outgoing::bytes).sum();
                prop_assert_eq!(queue.bytes, sum);
                prop_assert!(queue.bytes <= WAITING_MAX_BYTES);
                let held: usize = queue.items.iter().map(Outgoing::held).sum();
                prop_assert_eq!(ledger.bytes(), held + queue.handed);
                prop_assert_eq!(queue.since.is_some(), held + queue.handed > 0);
            }
            drop(outbox);
            prop_assert_eq!(ledger.bytes(), 0);
        }
    }
}
