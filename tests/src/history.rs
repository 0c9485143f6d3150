//! What clients saw of a cluster, and whether it may have been so.
//!
//! Clients write down every request with its answer. Afterwards a checker reads the history: an answer that is missing, or a refusal
//! that says *not now*, is nobody's fault while something is broken; a wrong answer always is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use claviger_actors::clock::{Clock as _, SystemClock};

/// Microseconds since 1970.
pub type Moment = i64;

/// A request and its answer.
#[derive(Debug, Clone)]
pub struct Event {
    /// Before it was sent.
    pub start: Moment,
    /// After the answer was read, or given up.
    pub end: Moment,
    /// Index of the node that was asked; its name is `node-<index>`.
    pub node: usize,
    /// What was asked.
    pub operation: Operation,
    /// What came back.
    pub outcome: Outcome,
}

/// What was asked.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A new key.
    Create {
        /// Its name.
        key: String,
    },
    /// A token or a ciphertext.
    Make {
        /// Under which key.
        key: String,
    },
    /// Whether something that was made, and has not expired, is still good: verify or decrypt.
    Check {
        /// The version that made it.
        kid: String,
    },
    /// A rotation by force.
    Rotate {
        /// Of which key.
        key: String,
    },
    /// A version is in other hands.
    Compromise {
        /// Of which key.
        key: String,
        /// Which.
        version: u64,
        /// The same.
        kid: String,
    },
}

/// What came back.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Nothing: the connection broke, or was never there. Whether it happened is open.
    Silence,
    /// A problem.
    Refused {
        /// Status.
        status: u16,
        /// Code.
        code: String,
    },
    /// To [`Operation::Make`].
    Made {
        /// The version that made it.
        kid: String,
    },
    /// To [`Operation::Check`].
    Verdict {
        /// It is good, and what came out is what went in.
        good: bool,
        /// Why not.
        code: String,
    },
    /// To every other one.
    Changed(Change),
}

/// A change that was acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The version that it is about.
    pub version: u64,
    /// The same.
    pub kid: String,
    /// Nodes that use the change when the answer is given.
    pub acknowledged_by: Vec<String>,
    /// When all others do.
    pub effective_by: Moment,
}

/// Something was broken, and for whom.
#[derive(Debug, Clone)]
pub struct Outage {
    /// Before it began.
    pub start: Moment,
    /// Once everything was well again.
    pub end: Moment,
    /// The nodes that it was meant to hit.
    pub nodes: Vec<usize>,
    /// Their processes stood still, so that a deadline passed without work towards it.
    pub stopped: bool,
}

impl Outage {
    /// The request was on its way to one of the nodes meanwhile.
    #[must_use]
    pub fn hits(&self, event: &Event) -> bool {
        self.nodes.contains(&event.node) && self.start <= event.end && event.start <= self.end
    }
}

/// A version in the database.
#[derive(Debug, Clone)]
pub struct Version {
    /// Name of the key.
    pub key: String,
    /// Number.
    pub version: u64,
    /// The same.
    pub kid: String,
    /// State.
    pub state: String,
}

/// A line of the change log that is about versions.
#[derive(Debug, Clone)]
pub struct Line {
    /// Epoch.
    pub epoch: u64,
    /// `key.created`, `key.rotated`, `key.compromised`.
    pub kind: String,
    /// Name of the key.
    pub key: String,
    /// The version that it is about.
    pub version: u64,
    /// The version whose place it took.
    pub previous: Option<u64>,
}

/// How it ended.
#[derive(Debug, Clone, Default)]
pub struct End {
    /// Every version in the database.
    pub versions: Vec<Version>,
    /// The change log, in order.
    pub log: Vec<Line>,
    /// Epoch and keys, as each node has them.
    pub views: Vec<String>,
}

/// A rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// P3: what is good is good everywhere, or the node does not know.
    GoodRefused,
    /// P4: what is not good any more is used by nobody.
    RevokedUsed,
    /// Nothing is answered that neither the request nor the outage explains.
    Unexplained,
    /// A node that nothing was done to goes on.
    BystanderFailed,
    /// P2: a version is made once.
    MadeTwice,
    /// P2: one active version a key, at every epoch.
    NotOneActive,
    /// P2: versions are 1..n.
    Gap,
    /// P1: what was acknowledged is there.
    Lost,
    /// Nodes that are well have the same ring.
    NodesDiffer,
}

/// A rule that was broken, and by what.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// By what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Where clients write to.
#[derive(Debug)]
pub struct History {
    /// One clock for all, which never goes back; it is compared with moments that the service names.
    began: (Moment, Instant),
    events: Mutex<Vec<Event>>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: (SystemClock.now().timestamp_micros(), Instant::now()), events: Mutex::default() }
    }
}

impl History {
    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        let (moment, instant) = self.began;
        moment + Moment::try_from(instant.elapsed().as_micros()).unwrap()
    }

    /// Asks and writes down.
    pub fn note(&self, node: usize, operation: Operation, ask: impl FnOnce() -> Outcome) -> Outcome {
        let start = self.now();
        let outcome = ask();
        let event = Event { start, end: self.now(), node, operation, outcome: outcome.clone() };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        outcome
    }

    /// Everything that was written down, in the order of the answers.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// When a version began to be, or may have begun to be, in other hands.
#[derive(Debug, Default)]
struct Revocation<'a> {
    /// From when on a *no* may be right: somebody has asked for it.
    possible: Option<Moment>,
    /// Answers that named who had stopped by then, and when the others would.
    promised: Vec<(Moment, &'a Change)>,
}

impl Revocation<'_> {
    /// Nobody may use the version on this node any more.
    fn is_certain(&self, node: usize, start: Moment) -> bool {
        let name = format!("node-{node}");
        self.promised.iter().any(|(answered, change)| {
            start > change.effective_by || (start > *answered && change.acknowledged_by.contains(&name))
        })
    }
}

/// The rules that were broken.
#[must_use]
pub fn check(events: &[Event], outages: &[Outage], end: &End) -> Vec<Violation> {
    let mut found = Vec::new();
    let revocations = revocations(events);
    for event in events {
        if is_late(event, outages) {
            continue;
        }
        if let Some(rule) = judge(event, &revocations) {
            let kid = match (&event.operation, &event.outcome) {
                (Operation::Check { kid }, _) | (_, Outcome::Made { kid }) => kid.as_str(),
                _ => "",
            };
            let revocation = revocations.get(kid);
            let what = revocation.map_or_else(String::new, |revocation| format!("; {revocation:?}"));
            found.push(Violation { rule, what: format!("{event:?}{what}") });
        } else if is_bystander(event, outages) {
            found.push(Violation { rule: Rule::BystanderFailed, what: format!("{event:?}") });
        }
    }
    found.extend(acknowledged(events, end));
    found.extend(numbered(end));
    found.extend(one_active(&end.log));
    let views: BTreeSet<&String> = end.views.iter().collect();
    if views.len() > 1 {
        found.push(Violation { rule: Rule::NodesDiffer, what: format!("{views:?}") });
    }
    found
}

fn revocations(events: &[Event]) -> BTreeMap<&str, Revocation<'_>> {
    let mut all = BTreeMap::<&str, Revocation<'_>>::new();
    for event in events {
        let Operation::Compromise { kid, .. } = &event.operation else { continue };
        let revocation = all.entry(kid).or_default();
        // A refusal by the request's fault has changed nothing; after any other answer it may have happened.
        if matches!(event.outcome, Outcome::Refused { status: 400..500, .. }) {
            continue;
        }
        let possible = revocation.possible.get_or_insert(event.start);
        *possible = event.start.min(*possible);
        if let Outcome::Changed(change) = &event.outcome {
            revocation.promised.push((event.end, change));
        }
    }
    all
}

/// The node says that it can't answer now; what it would have answered is open.
#[must_use]
pub fn is_not_now(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Silence => true,
        // 408: the head did not arrive in time, by the clock of a node that was stopped meanwhile.
        Outcome::Refused { status, code } => {
            matches!((*status, code.as_str()), (503, "stale_node" | "overloaded") | (408, ""))
        }
        Outcome::Made { .. } | Outcome::Verdict { .. } | Outcome::Changed(_) => false,
    }
}

/// Its record was not written in time, by the clock of a node that was stopped meanwhile.
fn is_late(event: &Event, outages: &[Outage]) -> bool {
    let is_late =
        matches!(&event.outcome, Outcome::Refused { status: 503, code } if code == "audit_unavailable");
    is_late && outages.iter().any(|outage| outage.stopped && outage.hits(event))
}

fn judge(event: &Event, revocations: &BTreeMap<&str, Revocation<'_>>) -> Option<Rule> {
    let is_possible = |kid: &str| {
        let possible = revocations.get(kid).and_then(|revocation| revocation.possible);
        possible.is_some_and(|possible| possible < event.end)
    };
    let is_certain = |kid: &str| {
        revocations.get(kid).is_some_and(|revocation| revocation.is_certain(event.node, event.start))
    };
    if is_not_now(&event.outcome) {
        return None;
    }
    match (&event.operation, &event.outcome) {
        (Operation::Check { kid }, Outcome::Verdict { good: true, .. }) => {
            is_certain(kid).then_some(Rule::RevokedUsed)
        }
        (Operation::Check { kid }, Outcome::Verdict { good: false, code }) => {
            // Whatever else is said of it than that it was revoked is wrong even then.
            let is_revoked = code == "key_not_usable" || code == "key_state_conflict";
            (!is_possible(kid) || !is_revoked).then_some(Rule::GoodRefused)
        }
        (Operation::Make { .. }, Outcome::Made { kid }) => is_certain(kid).then_some(Rule::RevokedUsed),
        (Operation::Create { .. } | Operation::Rotate { .. }, Outcome::Changed(_)) => None,
        (Operation::Compromise { version, kid, .. }, Outcome::Changed(change)) => {
            ((change.version, &change.kid) != (*version, kid)).then_some(Rule::Unexplained)
        }
        // It was compromised before.
        (Operation::Compromise { kid, .. }, Outcome::Refused { status: 409, .. }) => {
            (!is_possible(kid)).then_some(Rule::Unexplained)
        }
        _ => Some(Rule::Unexplained),
    }
}

/// A use that failed on a node to which nothing was done meanwhile. Changes are left out: they need the others.
fn is_bystander(event: &Event, outages: &[Outage]) -> bool {
    let is_use = matches!(event.operation, Operation::Make { .. } | Operation::Check { .. });
    is_use && is_not_now(&event.outcome) && !outages.iter().any(|outage| outage.hits(event))
}

/// Every acknowledged change is in the database, each as a version of its own.
fn acknowledged(events: &[Event], end: &End) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut made = BTreeSet::new();
    for event in events {
        let Outcome::Changed(change) = &event.outcome else { continue };
        let (key, states): (_, &[&str]) = match &event.operation {
            Operation::Create { key } => (key, &["active", "deactivated", "compromised"]),
            Operation::Rotate { key } => (key, &["active", "deactivated", "compromised"]),
            Operation::Compromise { key, .. } => (key, &["compromised"]),
            Operation::Make { .. } | Operation::Check { .. } => continue,
        };
        let is_revocation = matches!(event.operation, Operation::Compromise { .. });
        if !is_revocation && !made.insert((key, change.version)) {
            found.push(Violation { rule: Rule::MadeTwice, what: format!("{event:?}") });
        }
        let is_there = |version: &Version| {
            version.key == *key
                && (version.version, &version.kid) == (change.version, &change.kid)
                && states.contains(&version.state.as_str())
        };
        if !end.versions.iter().any(is_there) {
            found.push(Violation { rule: Rule::Lost, what: format!("{event:?}") });
        }
    }
    found
}

fn numbered(end: &End) -> Vec<Violation> {
    let mut keys = BTreeMap::<&str, Vec<&Version>>::new();
    for version in &end.versions {
        keys.entry(&version.key).or_default().push(version);
    }
    let mut found = Vec::new();
    for (key, versions) in keys {
        let mut numbers: Vec<u64> = versions.iter().map(|version| version.version).collect();
        numbers.sort_unstable();
        if !numbers.iter().copied().eq(1..=versions.len() as u64) {
            found.push(Violation { rule: Rule::Gap, what: format!("{key}: {numbers:?}") });
        }
        let active = versions.iter().filter(|version| version.state == "active").count();
        if active != 1 {
            let what = format!("{key}: {active} at the end: {versions:?}");
            found.push(Violation { rule: Rule::NotOneActive, what });
        }
    }
    found
}

/// Plays the change log: whoever takes a place takes that of the active version, and at the end of each epoch there is one.
fn one_active(log: &[Line]) -> Vec<Violation> {
    let mut found = Vec::new();
    // The active version and the greatest there has been.
    let mut keys = BTreeMap::<&str, (Option<u64>, u64)>::new();
    for lines in log.chunk_by(|one, next| one.epoch == next.epoch) {
        let mut wrong = Vec::new();
        for line in lines {
            let (active, greatest) = keys.entry(&line.key).or_default();
            if line.kind == "key.compromised" {
                continue;
            }
            if line.previous != *active || line.version <= *greatest {
                wrong.push(line);
            }
            (*active, *greatest) = (Some(line.version), line.version);
        }
        let still = |line: &&Line| {
            line.kind == "key.compromised"
                && keys.get(line.key.as_str()).is_some_and(|(active, _)| *active == Some(line.version))
        };
        wrong.extend(lines.iter().filter(still));
        found.extend(
            wrong.iter().map(|line| Violation { rule: Rule::NotOneActive, what: format!("{line:?}") }),
        );
    }
    found
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
