//! When a figure becomes an alert, and when it stops being one. Pure: time is a parameter, and only goes forward.
//!
//! Each rule has two limits and two times. Beyond the one for its time a figure is an alert; up to the other for its time it is none any more.
//! Between them, and until a time is over, everything stays as it is, so that a figure that trembles raises nothing twice.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::rule::{Limits, Rule, Rules};
use crate::figures::BOUNDS_US;

/// Subjects of one rule that are alerts of their own; the rest is one together.
pub const SUBJECTS_MAX: usize = 20;
/// What the rest goes by.
pub const OTHERS: &str = "*";
/// Readings that a window keeps.
const READINGS: u32 = 60;

/// Something measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// What is watched.
    pub rule: Rule,
    /// Of what; empty = the deployment.
    pub subject: String,
    /// How much, in the unit of the rule.
    pub value: u64,
    /// A sentence for people.
    pub summary: String,
}

/// What an alert is about.
pub type About = (Rule, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Beyond the limit since then, not for long enough yet.
    Rising(Duration),
    /// An alert.
    Raised,
    /// An alert that has been calm since then, not for long enough yet.
    Calming(Duration),
}

/// How something stands that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    phase: Phase,
    /// What was measured last while it was beyond the limit.
    pub value: u64,
    /// The sentence of then.
    pub summary: String,
}

/// Judges figures one round after the other.
#[derive(Debug, Default)]
pub struct Judge(BTreeMap<About, Standing>);

impl Judge {
    /// Takes in a round. Of a measured rule, a subject without a figure is calm; of a rule that could not be measured nothing changes.
    pub fn observe(&mut self, rules: &Rules, measured: &BTreeSet<Rule>, figures: Vec<Figure>, now: Duration) {
        let mut figures = self.folded(rules, figures);
        self.0.retain(|about, standing| {
            let limits = rules.of(about.0);
            if !limits.is_on {
                return false;
            }
            let figure = figures.remove(about);
            if !measured.contains(&about.0) {
                return true;
            }
            standing.take(about.0, &limits, figure, now)
        });
        for (about, figure) in figures {
            let limits = rules.of(about.0);
            let is_wanted = limits.is_on && measured.contains(&about.0);
            if is_wanted && about.0.is_beyond(figure.value, limits.raise) {
                let phase = if limits.hold.is_zero() { Phase::Raised } else { Phase::Rising(now) };
                self.0.insert(about, Standing { phase, value: figure.value, summary: figure.summary });
            }
        }
    }

    /// What is an alert, as far as this node sees.
    pub fn raised(&self) -> impl Iterator<Item = (&About, &Standing)> {
        self.0.iter().filter(|(_, standing)| match standing.phase {
            Phase::Raised | Phase::Calming(_) => true,
            Phase::Rising(_) => false,
        })
    }

    /// By what they are about; those of one rule beyond so many together. Whatever stands already keeps its place.
    fn folded(&self, rules: &Rules, figures: Vec<Figure>) -> BTreeMap<About, Figure> {
        let mut places: BTreeMap<Rule, usize> = BTreeMap::new();
        let mut kept: BTreeMap<About, Figure> = BTreeMap::new();
        let (standing, new): (Vec<Figure>, Vec<Figure>) = figures
            .into_iter()
            .partition(|figure| self.0.contains_key(&(figure.rule, figure.subject.clone())));
        for mut figure in standing.into_iter().chain(new) {
            let is_bad = figure.rule.is_beyond(figure.value, rules.of(figure.rule).raise);
            let place = places.entry(figure.rule).or_default();
            let about = (figure.rule, figure.subject.clone());
            if *place >= SUBJECTS_MAX && !self.0.contains_key(&about) {
                if !is_bad {
                    continue;
                }
                figure.subject = OTHERS.to_owned();
            } else if is_bad {
                *place += 1;
            }
            let about = (figure.rule, figure.subject.clone());
            let is_worse =
                kept.get(&about).is_none_or(|known| figure.rule.is_beyond(figure.value, known.value));
            if is_worse {
                kept.insert(about, figure);
            }
        }
        kept
    }
}

impl Standing {
    /// `false`: there is nothing the matter any more.
    fn take(&mut self, rule: Rule, limits: &Limits, figure: Option<Figure>, now: Duration) -> bool {
        let is_beyond = |limit| figure.as_ref().is_some_and(|figure| rule.is_beyond(figure.value, limit));
        let (is_bad, is_calm) = (is_beyond(limits.raise), !is_beyond(limits.clear));
        let after = match self.phase {
            Phase::Rising(_) if !is_bad => return false,
            Phase::Rising(since) if now.saturating_sub(since) >= limits.hold => Phase::Raised,
            Phase::Raised if is_calm => Phase::Calming(now),
            Phase::Calming(_) if !is_calm => Phase::Raised,
            phase @ (Phase::Rising(_) | Phase::Raised | Phase::Calming(_)) => phase,
        };
        self.phase = after;
        if let Phase::Calming(since) = after
            && now.saturating_sub(since) >= limits.calm
        {
            return false;
        }
        if let Some(figure) = figure.filter(|_| is_bad) {
            (self.value, self.summary) = (figure.value, figure.summary);
        }
        true
    }
}

/// How much counters have grown within a time.
#[derive(Debug)]
pub struct Window {
    length: Duration,
    readings: VecDeque<(Duration, Vec<u64>)>,
}

impl Window {
    /// Of so long.
    #[must_use]
    pub const fn new(length: Duration) -> Self {
        Self { length, readings: VecDeque::new() }
    }

    /// Takes a reading, and answers how much each counter has grown since the one that is as old as the window; since the first one while there
    /// is none as old.
    pub fn grown(&mut self, now: Duration, counters: &[u64]) -> Vec<u64> {
        let age = |(at, _): &(Duration, Vec<u64>)| now.saturating_sub(*at);
        while self.readings.get(1).is_some_and(|second| age(second) >= self.length) {
            self.readings.pop_front();
        }
        let first = self.readings.front().map_or(counters, |(_, first)| first.as_slice());
        let grown = counters
            .iter()
            .enumerate()
            .map(|(place, counter)| counter.saturating_sub(first.get(place).copied().unwrap_or(0)))
            .collect();
        if self.readings.back().is_none_or(|last| age(last) >= self.length / READINGS) {
            self.readings.push_back((now, counters.to_vec()));
        }
        grown
    }
}

/// The time that all but one in a hundred do not exceed, in microseconds, out of how many took up to each bound; `None` where there are fewer
/// than `least`.
#[must_use]
pub fn p99_us(cumulative: &[u64], least: u64) -> Option<u64> {
    let all = cumulative.last().copied().filter(|all| *all >= least.max(1))?;
    let wanted = all - all / 100;
    let at = cumulative.iter().position(|count| *count >= wanted)?;
    // Nobody knows how long those took that are above the last bound.
    Some(BOUNDS_US.get(at).copied().unwrap_or_else(|| BOUNDS_US.last().map_or(0, |last| last * 2)))
}

/// Parts of a whole in hundredths of a percent; `None` where there are fewer than `least`.
#[must_use]
pub fn share(part: u64, whole: u64, least: u64) -> Option<u64> {
    (whole >= least.max(1)).then(|| part.saturating_mul(10_000) / whole)
}
