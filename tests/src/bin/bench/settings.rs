//! What the environment asks for.

use std::{env, num::NonZeroUsize, thread};

/// Concurrent connections.
pub(crate) const CONCURRENCY: [u16; 3] = [1, 16, 64];
/// Rounds and seconds of a run whose pages may be published.
const WHOLE: (usize, u64) = (5, 3);

/// How much is measured, and what.
pub(crate) struct Settings {
    /// `BENCH_ROUNDS`: alternating rounds.
    pub(crate) rounds: usize,
    /// `BENCH_SECONDS`: of one measurement.
    pub(crate) seconds: u64,
    /// `BENCH_ONLY`: beginnings of the names of what is measured; all when empty.
    only: Vec<String>,
    /// HTTP workers of each server that lets itself be told.
    pub(crate) workers: usize,
}

impl Settings {
    pub(crate) fn of_environment() -> Self {
        let number =
            |name: &str| env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| refuse(name)));
        let only = env::var("BENCH_ONLY").unwrap_or_default();
        Self {
            rounds: number("BENCH_ROUNDS").map_or(WHOLE.0, |rounds| usize::try_from(rounds).unwrap()).max(1),
            seconds: number("BENCH_SECONDS").unwrap_or(WHOLE.1).max(1),
            only: only.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            workers: thread::available_parallelism().map_or(2, NonZeroUsize::get),
        }
    }

    /// A part or an operation is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| name.starts_with(word.as_str()))
    }

    /// The same, of these alone.
    pub(crate) fn only<const N: usize>(&self, names: [&str; N]) -> Self {
        Self { only: names.map(str::to_owned).into(), ..*self }
    }

    /// The same, of everything.
    pub(crate) fn everything(&self) -> Self {
        Self { only: Vec::new(), ..*self }
    }

    /// Everything is wanted.
    pub(crate) fn wants_all(&self) -> bool {
        self.only.is_empty()
    }

    /// Nothing was shortened, so that the figures may be published.
    pub(crate) fn is_whole(&self) -> bool {
        self.rounds >= WHOLE.0 && self.seconds >= WHOLE.1
    }
}

fn refuse(name: &str) -> u64 {
    panic!("{name} must be a whole number")
}
