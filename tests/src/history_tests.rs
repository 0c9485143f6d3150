//! Histories that are bad, each in its own way, and what the checker finds.

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
    let made = event(0, 1, Operation::Make { key: "k".to_owned() }, Outcome::Made { kid: KID.to_owned() });
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
    let events = [compromise(Some(refused(503, "overloaded"))), check_of(2_000, 0, bad("key_not_usable"))];
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
    let before = [compromise(Some(Outcome::Silence)), compromise(Some(refused(409, "key_state_conflict")))];
    assert_eq!(rules(&before), []);
    let other = Outcome::Changed(change(2));
    assert!(rules(&[compromise(Some(other))]).contains(&Rule::Unexplained));
}

#[test]
fn only_a_node_that_was_stopped_may_miss_the_deadline_of_its_record() {
    let found = |node, stopped| {
        let outages = [Outage { start: 90, end: 110, nodes: vec![1], stopped }];
        let event = check_of(100, node, refused(503, "audit_unavailable"));
        check(&[event], &outages, &end()).iter().map(|violation| violation.rule).collect::<Vec<_>>()
    };
    assert_eq!(found(1, true), []);
    assert_eq!(found(1, false), [Rule::Unexplained]);
    assert_eq!(found(2, true), [Rule::Unexplained]);
}

#[test]
fn only_nodes_in_trouble_may_fail() {
    let outage = |start, end| [Outage { start, end, nodes: vec![1], stopped: false }];
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
