//! Groups on their way to the writer.
//!
//! To wake a thread that sleeps is dear, and so is falling asleep; more so where the processors are virtual. So the writer may look around
//! for a moment before it sleeps (see [`super::pace`]), and is woken only when it does.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::group::Group;

/// What has not been looked at yet, and whether somebody will look.
#[derive(Default)]
pub(super) struct Inbox {
    groups: Mutex<Vec<Group>>,
    is_watched: AtomicBool,
}

impl Inbox {
    /// Puts a group in. `true`: nobody is watching, and whoever put it in has to wake the writer.
    #[must_use = "the writer may have to be woken"]
    pub(super) fn put(&self, group: Group) -> bool {
        self.groups().push(group);
        !self.is_watched.swap(true, Ordering::AcqRel)
    }

    /// The writer can't be woken: nothing is left for it. What is dropped tells those who wait.
    pub(super) fn give_up(&self) {
        self.groups().clear();
        self.is_watched.store(false, Ordering::Release);
    }

    /// Everything, in the order in which it came.
    pub(super) fn take(&self) -> Vec<Group> {
        std::mem::take(&mut *self.groups())
    }

    /// The writer looks away, unless something has come meanwhile. `false`: it has to look again.
    #[must_use = "what came meanwhile would never be looked at"]
    pub(super) fn leave(&self) -> bool {
        self.is_watched.store(false, Ordering::SeqCst);
        // Whoever put something in before has not woken it; whoever does from here on will.
        self.groups().is_empty() || self.is_watched.swap(true, Ordering::AcqRel)
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use tokio::sync::oneshot;

    use super::{super::group::Returned, *};

    fn group() -> (Group, oneshot::Receiver<Returned>) {
        let (written, answer) = oneshot::channel();
        (Group { records: Default::default(), notable: Default::default(), written }, answer)
    }

    #[test]
    fn only_the_first_wakes_a_writer_that_sleeps() {
        let inbox = Inbox::default();
        assert!(inbox.put(group().0));
        assert!(!inbox.put(group().0));
        assert_eq!(inbox.take().len(), 2);
        assert!(!inbox.put(group().0));
        assert!(!inbox.leave(), "something has come");
        assert_eq!(inbox.take().len(), 1);
        assert!(inbox.leave());
        assert!(inbox.put(group().0), "it sleeps again");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_writer_that_is_gone() {
        let inbox = Inbox::default();
        let (group_of_one, answer) = group();
        assert!(inbox.put(group_of_one));
        inbox.give_up();
        assert!(answer.await.is_err());
        assert!(inbox.put(group().0), "the next one tries again");
    }

    /// Whatever the threads do between two steps, nothing is left behind by a writer that sleeps.
    #[test]
    fn nothing_is_ever_left_behind() {
        const EACH: usize = 50_000;
        let inbox = Inbox::default();
        let (wake, woken) = mpsc::channel();
        thread::scope(|scope| {
            for wake in [wake.clone(), wake] {
                scope.spawn(|| {
                    let wake = wake;
                    for _ in 0..EACH {
                        if inbox.put(group().0) {
                            wake.send(()).unwrap();
                        }
                    }
                });
            }
            let (mut seen, began) = (0, Instant::now());
            while seen < 2 * EACH {
                woken.recv_timeout(Duration::from_secs(10)).expect("it sleeps, and something is there");
                loop {
                    seen += inbox.take().len();
                    if inbox.leave() {
                        break;
                    }
                }
                assert!(began.elapsed() < Duration::from_secs(60));
            }
            assert_eq!(seen, 2 * EACH);
        });
    }
}
