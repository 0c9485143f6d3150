//! When to connect, to which node, when to wait, and when to give up. Pure: no clock, no I/O; chance is a parameter.

use std::time::Duration;

use crate::{
    backoff::Backoff,
    ending::{Ending, Reached, Verdict},
};

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Connect to this node.
    Connect(usize),
    /// Wait, then say so with [`Machine::waited`].
    Wait(Duration),
    /// Nothing any more.
    GiveUp,
}

/// The life of a client's connections.
#[derive(Debug, Clone)]
pub struct Machine {
    backoff: Backoff,
    nodes: usize,
    node: usize,
    /// Connections that were tried since the last session.
    attempts: u32,
    /// Waits since the last session.
    waits: u32,
    reached: Reached,
    has_given_up: bool,
}

impl Machine {
    /// For so many nodes, of which the first is tried first.
    #[must_use]
    pub fn new(backoff: Backoff, nodes: usize) -> Self {
        let nodes = nodes.max(1);
        Self {
            backoff,
            nodes,
            node: 0,
            attempts: 0,
            waits: 0,
            reached: Reached::Nothing,
            has_given_up: false,
        }
    }

    /// The first step, and the one after a wait.
    pub const fn waited(&mut self) -> Step {
        if self.has_given_up {
            return Step::GiveUp;
        }
        self.attempts = self.attempts.saturating_add(1);
        Step::Connect(self.node)
    }

    /// The server has let this client in: whatever went wrong before counts no more.
    pub const fn opened(&mut self) {
        (self.attempts, self.waits) = (0, 0);
        self.reached = Reached::Session;
    }

    /// The connection has ended, or did not come about. The next attempt is at the next node.
    pub fn lost(&mut self, ending: &Ending, random: f64) -> Step {
        let verdict = ending.verdict(self.reached);
        if self.reached == Reached::Session {
            self.reached = Reached::Before;
        }
        let at_least = match verdict {
            Verdict::Retry(at_least) if self.attempts < self.backoff.attempts => at_least,
            Verdict::Retry(_) | Verdict::Final => {
                self.has_given_up = true;
                return Step::GiveUp;
            }
        };
        self.node = (self.node + 1) % self.nodes;
        let delay = self.backoff.delay(self.waits, random).max(at_least);
        self.waits = self.waits.saturating_add(1);
        Step::Wait(delay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn broken() -> Ending {
        Ending::closed(1_006, "")
    }

    #[test]
    fn a_client_gives_up_after_twenty_attempts_and_starts_anew_after_a_hello() {
        let mut machine = Machine::new(Backoff::default(), 1);
        for round in 0..3 {
            let mut waited = Vec::new();
            loop {
                assert_eq!(machine.waited(), Step::Connect(0));
                match machine.lost(&broken(), 0.5) {
                    Step::Wait(delay) => waited.push(delay.as_secs()),
                    Step::GiveUp | Step::Connect(_) => break,
                }
                if round < 2 && waited.len() == 19 {
                    assert_eq!(machine.waited(), Step::Connect(0));
                    machine.opened();
                    assert_eq!(machine.lost(&broken(), 0.5), Step::Wait(Duration::from_secs(3)));
                    machine.opened();
                    break;
                }
            }
            assert_eq!((waited.len(), waited[0], waited[1], waited[18]), (19, 3, 6, 60), "round {round}");
        }
        assert_eq!(machine.waited(), Step::GiveUp);
    }

    #[test]
    fn a_session_that_breaks_is_tried_again_twenty_times() {
        let mut machine = Machine::new(Backoff::default(), 1);
        assert_eq!(machine.waited(), Step::Connect(0));
        machine.opened();
        let mut attempts = 0;
        while let Step::Wait(_) = machine.lost(&broken(), 0.0) {
            assert_eq!(machine.waited(), Step::Connect(0));
            attempts += 1;
        }
        assert_eq!(attempts, 20);
    }

    #[test]
    fn what_the_server_asks_for_is_waited() {
        let mut machine = Machine::new(Backoff::default(), 1);
        machine.waited();
        let locked = Ending::Refused {
            code: "rate_limited".to_owned(),
            message: String::new(),
            request_id: None,
            retryable: true,
            retry_after: Some(Duration::from_secs(299)),
        };
        assert_eq!(machine.lost(&locked, 0.0), Step::Wait(Duration::from_secs(299)));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Open,
        Lose(Ending),
    }

    fn acts() -> impl Strategy<Value = Vec<(Act, f64)>> {
        let refused = |code: &str, retryable| Ending::Refused {
            code: code.to_owned(),
            message: String::new(),
            request_id: None,
            retryable,
            retry_after: None,
        };
        let act = prop_oneof![
            3 => Just(Act::Open),
            8 => Just(Act::Lose(broken())),
            4 => Just(Act::Lose(Ending::Unreachable(String::new()))),
            2 => Just(Act::Lose(refused("overloaded", true))),
            1 => Just(Act::Lose(refused("unauthorized", false))),
            1 => Just(Act::Lose(Ending::Untrusted(String::new()))),
        ];
        proptest::collection::vec((act, 0.0..=1.0), 0..200)
    }

    proptest! {
        /// Whatever happens: nodes are tried in turn, waits are within bounds, attempts in a row are counted, and the end is the end.
        #[test]
        fn connections_follow_the_protocol(acts in acts(), nodes in 1_usize..5) {
            let backoff = Backoff::default();
            let mut machine = Machine::new(backoff, nodes);
            let (mut expected_node, mut in_a_row, mut is_over) = (0, 0, false);
            prop_assert_eq!(machine.waited(), Step::Connect(0));
            in_a_row += 1;
            for (act, random) in acts {
                match act {
                    Act::Open if is_over => {}
                    Act::Open => {
                        machine.opened();
                        in_a_row = 0;
                    }
                    Act::Lose(ending) if is_over => {
                        prop_assert_eq!(machine.waited(), Step::GiveUp);
                        drop(ending);
                    }
                    Act::Lose(ending) => match machine.lost(&ending, random) {
                        Step::Wait(delay) => {
                            prop_assert!(delay >= Duration::from_millis(2_400));
                            prop_assert!(delay <= Duration::from_secs(72));
                            prop_assert!(in_a_row < backoff.attempts);
                            prop_assert!(!ending.is_unauthorized());
                            expected_node = (expected_node + 1) % nodes;
                            prop_assert_eq!(machine.waited(), Step::Connect(expected_node));
                            in_a_row += 1;
                        }
                        Step::GiveUp => is_over = true,
                        Step::Connect(_) => prop_assert!(false, "connects without a wait"),
                    },
                }
            }
        }
    }
}
