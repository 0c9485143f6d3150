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
mod tests {
    use super::*;

    const KID: &str = "kid-1";

    fn event(at: Moment, node: usize, operation: Operation, outcome: Outcome) -> Event {
        Event { start: at, end: at + 10, node, operation, outcome }
    }

    fn check_of(at: Moment, node: usize, outcome: Outcome) -> Event {
        event(at, node, Operation::Check { kid: KID.to_owned() }, outcome)
    }

    fn good() -> Outcome {
        Outcome::Verdict { good: true, code: String::new() }
    }

    fn bad(code: &str) -> Outcome {
        Outcome::Verdict { good: false, code: code.to_owned() }
    }

    fn refused(status: u16, code: &str) -> Outcome {
        Outcome::Refused { status, code: code.to_owned() }
    }

    fn change(version: u64) -> Change {
        Change { version, kid: format!("kid-{version}"), ..Change::default() }
    }

    fn rotate(at: Moment, version: u64) -> Event {
        event(at, 0, Operation::Rotate { key: "k".to_owned() }, Outcome::Changed(change(version)))
    }

    /// Asked at 1000, answered at 1010: node-0 and node-1 have stopped then, the others at 5000.
    fn compromise(outcome: Option<Outcome>) -> Event {
        let (acknowledged_by, effective_by) = (vec!["node-0".to_owned(), "node-1".to_owned()], 5_000);
        let changed = Outcome::Changed(Change { acknowledged_by, effective_by, ..change(1) });
        let operation = Operation::Compromise { key: "k".to_owned(), version: 1, kid: KID.to_owned() };
        event(1_000, 0, operation, outcome.unwrap_or(changed))
    }

    fn version(version: u64, state: &str) -> Version {
        Version { key: "k".to_owned(), version, kid: format!("kid-{version}"), state: state.to_owned() }
    }

    fn line(epoch: u64, kind: &str, version: u64, previous: Option<u64>) -> Line {
        Line { epoch, kind: kind.to_owned(), key: "k".to_owned(), version, previous }
    }

    /// A key that was created, rotated to 2, lost 2 to others and has 3 now.
    fn end() -> End {
        End {
            versions: vec![
                version(1, "compromised"),
                version(2, "deactivated"),
                version(3, "active"),
                version(4, "pre_activation"),
            ],
            log: vec![
                line(1, "key.created", 1, None),
                line(2, "key.rotated", 2, Some(1)),
                line(3, "key.compromised", 1, None),
                line(4, "key.rotated", 3, Some(2)),
            ],
            views: vec!["same".to_owned(), "same".to_owned()],
        }
    }

    /// Checks a history against the usual end.
    fn rules(events: &[Event]) -> Vec<Rule> {
        check(events, &[], &end()).into_iter().map(|violation| violation.rule).collect()
    }

    fn rules_of_end(end: &End) -> Vec<Rule> {
        check(&[], &[], end).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_good_history_is_good() {
        let made =
            event(0, 1, Operation::Make { key: "k".to_owned() }, Outcome::Made { kid: KID.to_owned() });
        let changes = [rotate(100, 2), rotate(200, 3), compromise(None)];
        let checks = [
            check_of(20, 2, good()),
            // It may be either while the revocation is on its way.
            check_of(995, 0, bad("key_not_usable")),
            check_of(1_005, 0, good()),
            // One that lags may go on for a while.
            check_of(4_999, 2, good()),
            check_of(5_001, 2, bad("key_state_conflict")),
        ];
        let events: Vec<Event> = std::iter::once(made).chain(changes).chain(checks).collect();
        assert_eq!(rules(&events), []);
    }

    #[test]
    fn what_is_good_must_not_be_refused() {
        for code in ["key_not_usable", "key_not_found", "signature_invalid", "decryption_failed"] {
            assert_eq!(rules(&[check_of(20, 2, bad(code))]), [Rule::GoodRefused], "{code}");
        }
        // Nobody has asked for it yet.
        assert_eq!(rules(&[compromise(None), check_of(980, 0, bad("key_not_usable"))]), [Rule::GoodRefused]);
        // It was asked for, and refused.
        let conflict = compromise(Some(refused(404, "key_not_found")));
        let found = rules(&[conflict, check_of(2_000, 0, bad("key_not_usable"))]);
        assert_eq!(found, [Rule::Unexplained, Rule::GoodRefused]);
        // A key that was revoked is still known.
        assert_eq!(rules(&[compromise(None), check_of(2_000, 0, bad("key_not_found"))]), [Rule::GoodRefused]);
        // One whose answer was lost may have happened.
        let events = [compromise(Some(Outcome::Silence)), check_of(2_000, 0, bad("key_not_usable"))];
        assert_eq!(rules(&events), []);
        let events =
            [compromise(Some(refused(503, "overloaded"))), check_of(2_000, 0, bad("key_not_usable"))];
        assert_eq!(rules(&events), []);
    }

    #[test]
    fn what_is_revoked_must_not_be_used() {
        // A node that has acknowledged it.
        assert_eq!(rules(&[compromise(None), check_of(1_011, 1, good())]), [Rule::RevokedUsed]);
        // Any node, later.
        assert_eq!(rules(&[compromise(None), check_of(5_001, 2, good())]), [Rule::RevokedUsed]);
        assert_eq!(rules(&[compromise(None), check_of(1_011, 2, good())]), []);
        let make = |node| {
            let operation = Operation::Make { key: "k".to_owned() };
            event(1_011, node, operation, Outcome::Made { kid: KID.to_owned() })
        };
        assert_eq!(rules(&[compromise(None), make(1)]), [Rule::RevokedUsed]);
        assert_eq!(rules(&[compromise(None), make(2)]), []);
        // Whose answer was lost has promised nothing.
        assert_eq!(rules(&[compromise(Some(Outcome::Silence)), check_of(6_000, 2, good())]), []);
    }

    #[test]
    fn an_answer_must_be_one_to_the_question() {
        for (status, code) in [(500, "internal"), (401, "unauthorized"), (404, "key_not_found")] {
            assert_eq!(rules(&[check_of(20, 2, refused(status, code))]), [Rule::Unexplained], "{code}");
            let create = Operation::Create { key: "k".to_owned() };
            assert_eq!(rules(&[event(0, 0, create, refused(status, code))]), [Rule::Unexplained], "{code}");
            let rotate = Operation::Rotate { key: "k".to_owned() };
            assert_eq!(rules(&[event(0, 0, rotate, refused(status, code))]), [Rule::Unexplained], "{code}");
        }
        assert_eq!(rules(&[check_of(20, 2, refused(503, "audit_unavailable"))]), [Rule::Unexplained]);
        // A conflict needs somebody who was there before.
        assert_eq!(rules(&[compromise(Some(refused(409, "key_state_conflict")))]), [Rule::Unexplained]);
        let before =
            [compromise(Some(Outcome::Silence)), compromise(Some(refused(409, "key_state_conflict")))];
        assert_eq!(rules(&before), []);
        let other = Outcome::Changed(change(2));
        assert!(rules(&[compromise(Some(other))]).contains(&Rule::Unexplained));
    }

    #[test]
    fn only_nodes_in_trouble_may_fail() {
        let outage = |start, end| [Outage { start, end, nodes: vec![1] }];
        let broken = |node, outcome, outages: &[Outage]| {
            let found = check(&[check_of(100, node, outcome)], outages, &end());
            found.into_iter().map(|violation| violation.rule).collect::<Vec<_>>()
        };
        for outcome in
            [Outcome::Silence, refused(503, "stale_node"), refused(503, "overloaded"), refused(408, "")]
        {
            assert_eq!(broken(1, outcome.clone(), &outage(90, 120)), []);
            assert_eq!(broken(1, outcome.clone(), &outage(110, 120)), []);
            assert_eq!(broken(2, outcome.clone(), &outage(90, 120)), [Rule::BystanderFailed]);
            assert_eq!(broken(1, outcome.clone(), &outage(10, 99)), [Rule::BystanderFailed]);
            assert_eq!(broken(1, outcome, &outage(111, 200)), [Rule::BystanderFailed]);
        }
        let rotated = event(0, 2, Operation::Rotate { key: "k".to_owned() }, Outcome::Silence);
        assert_eq!(rules(&[rotated]), []);
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        assert_eq!(rules(&[rotate(0, 5)]), [Rule::Lost]);
        // Still waiting for its turn.
        assert_eq!(rules(&[rotate(0, 4)]), [Rule::Lost]);
        let operation = Operation::Create { key: "other".to_owned() };
        assert_eq!(rules(&[event(0, 0, operation, Outcome::Changed(change(1)))]), [Rule::Lost]);
        // The version is there, and is another.
        let mut other = change(3);
        other.kid = "kid-x".to_owned();
        let operation = Operation::Rotate { key: "k".to_owned() };
        assert_eq!(rules(&[event(0, 0, operation, Outcome::Changed(other))]), [Rule::Lost]);
        let mut forgotten = end();
        forgotten.versions[0].state = "deactivated".to_owned();
        let found = check(&[compromise(None)], &[], &forgotten);
        assert_eq!(found.iter().map(|violation| violation.rule).collect::<Vec<_>>(), [Rule::Lost]);
    }

    #[test]
    fn nothing_happens_twice() {
        assert_eq!(rules(&[rotate(0, 2), rotate(100, 2)]), [Rule::MadeTwice]);
        let mut double = end();
        double.versions.push(version(3, "deactivated"));
        assert_eq!(rules_of_end(&double), [Rule::Gap]);
        let mut gap = end();
        gap.versions.remove(1);
        assert_eq!(rules_of_end(&gap), [Rule::Gap]);
    }

    #[test]
    fn one_version_is_active() {
        let mut two = end();
        two.versions[1].state = "active".to_owned();
        assert_eq!(rules_of_end(&two), [Rule::NotOneActive]);
        let mut none = end();
        none.versions[2].state = "deactivated".to_owned();
        assert_eq!(rules_of_end(&none), [Rule::NotOneActive]);
        // Two nodes took the same place.
        let mut fork = end();
        fork.log[3].previous = Some(1);
        assert_eq!(rules_of_end(&fork), [Rule::NotOneActive]);
        let mut back = end();
        back.log.push(line(5, "key.rotated", 2, Some(3)));
        assert_eq!(rules_of_end(&back), [Rule::NotOneActive]);
        // The active one was lost, and nothing took its place.
        let mut alone = end();
        alone.log.push(line(5, "key.compromised", 3, None));
        assert_eq!(rules_of_end(&alone), [Rule::NotOneActive]);
        // In the same epoch, it did.
        alone.log.push(line(5, "key.rotated", 4, Some(3)));
        assert_eq!(rules_of_end(&alone), []);
        // A later epoch is too late.
        alone.log[5].epoch = 6;
        assert_eq!(rules_of_end(&alone), [Rule::NotOneActive]);
    }

    #[test]
    fn nodes_agree() {
        let mut differ = end();
        differ.views[1] = "other".to_owned();
        assert_eq!(rules_of_end(&differ), [Rule::NodesDiffer]);
    }
}
