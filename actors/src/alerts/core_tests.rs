use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::{
    core::{Figure, Judge, OTHERS, SUBJECTS_MAX, Window, p99_us, share},
    rule::{Override, Rule, Rules, Severity},
};

fn rules(hold: u64, calm: u64) -> Rules {
    let wanted = Override {
        raise: Some(10),
        clear: Some(5),
        hold: Some(Duration::from_secs(hold)),
        calm: Some(Duration::from_secs(calm)),
        ..Override::default()
    };
    Rules::new(&[(Rule::PublicationLag, wanted)]).unwrap()
}

fn figure(subject: &str, value: u64) -> Figure {
    Figure { rule: Rule::PublicationLag, subject: subject.to_owned(), value, summary: format!("{value}") }
}

/// One figure a second; how many alerts there are after each.
fn told(rules: &Rules, values: &[Option<u64>]) -> Vec<usize> {
    let (mut judge, measured) = (Judge::default(), BTreeSet::from([Rule::PublicationLag]));
    let each = values.iter().enumerate().map(|(second, value)| {
        let figures = value.iter().map(|value| figure("", *value)).collect();
        judge.observe(rules, &measured, figures, Duration::from_secs(second as u64));
        judge.raised().count()
    });
    each.collect()
}

#[test]
fn limits_and_times() {
    let table: [(u64, u64, &[u64], &[usize]); 7] = [
        // At once, and at once over.
        (0, 0, &[10, 11, 6, 5, 11], &[0, 1, 1, 0, 1]),
        // Only what lasts.
        (2, 0, &[11, 11, 10, 11, 11, 11, 0], &[0, 0, 0, 0, 0, 1, 0]),
        // Only what is over for good.
        (0, 2, &[11, 0, 0, 6, 0, 0, 0], &[1, 1, 1, 1, 1, 1, 0]),
        // Between the limits nothing changes.
        (0, 0, &[8, 8, 11, 8, 8, 8], &[0, 0, 1, 1, 1, 1]),
        (0, 2, &[11, 0, 8, 0, 8, 0], &[1, 1, 1, 1, 1, 1]),
        (3, 3, &[11, 8, 11, 8], &[0, 0, 0, 0]),
        (0, 0, &[], &[]),
    ];
    for (hold, calm, values, expected) in table {
        let values: Vec<_> = values.iter().copied().map(Some).collect();
        assert_eq!(told(&rules(hold, calm), &values), expected, "{hold} {calm} {values:?}");
    }
    // What is not there any more is calm.
    assert_eq!(told(&rules(0, 1), &[Some(11), None, None]), [1, 1, 0]);
}

#[test]
fn what_could_not_be_measured_stays_as_it_is() {
    let (mut judge, rules) = (Judge::default(), rules(0, 0));
    let measured = BTreeSet::from([Rule::PublicationLag]);
    judge.observe(&rules, &measured, vec![figure("", 11)], Duration::ZERO);
    judge.observe(&rules, &BTreeSet::new(), Vec::new(), Duration::from_secs(900));
    assert_eq!(judge.raised().count(), 1);
    judge.observe(&rules, &BTreeSet::new(), vec![figure("other", 11)], Duration::from_secs(901));
    assert_eq!(judge.raised().count(), 1);
    judge.observe(&rules, &measured, Vec::new(), Duration::from_secs(902));
    assert_eq!(judge.raised().count(), 0);
}

#[test]
fn a_rule_that_is_off_or_contradicts_itself() {
    let off = Override { is_on: Some(false), ..Override::default() };
    let rules = Rules::new(&[(Rule::AuditUnavailable, off)]).unwrap();
    let mut judge = Judge::default();
    let figure =
        Figure { rule: Rule::AuditUnavailable, subject: String::new(), value: 1, summary: String::new() };
    judge.observe(&rules, &BTreeSet::from([Rule::AuditUnavailable]), vec![figure], Duration::ZERO);
    assert_eq!(judge.raised().count(), 0);
    let wrong = |rule, raise, clear| {
        let wanted = Override { raise: Some(raise), clear: Some(clear), ..Override::default() };
        Rules::new(&[(rule, wanted)]).is_err()
    };
    assert!(wrong(Rule::PublicationLag, 5, 6) && !wrong(Rule::PublicationLag, 5, 5));
    assert!(wrong(Rule::KeyExpiry, 6, 5) && !wrong(Rule::KeyExpiry, 5, 6));
}

#[test]
fn shipped_rules_are_consistent_and_those_of_the_design() {
    let rules = Rules::new(&[]).unwrap();
    let severities = [
        (Rule::VerificationFailures, Severity::Warning, 100),
        (Rule::SlowOperations, Severity::Critical, 100_000),
        (Rule::PublicationLag, Severity::Warning, 5_000),
        (Rule::RotationFailures, Severity::Critical, 9_500),
    ];
    for (rule, severity, raise) in severities {
        assert_eq!((rules.of(rule).severity, rules.of(rule).raise), (severity, raise), "{rule:?}");
    }
    for rule in Rule::ALL {
        assert_eq!(Rule::parse(rule.as_str()), Some(*rule));
    }
}

#[test]
fn many_subjects_are_one_together() {
    let (mut judge, rules) = (Judge::default(), rules(0, 0));
    let measured = BTreeSet::from([Rule::PublicationLag]);
    let all =
        |count: usize| (0..count).map(|number| figure(&format!("k{number:04}"), 11)).collect::<Vec<_>>();
    judge.observe(&rules, &measured, all(1_000), Duration::ZERO);
    assert_eq!(judge.raised().count(), SUBJECTS_MAX + 1);
    assert!(judge.raised().any(|((_, subject), _)| subject == OTHERS));
    // Those that stand keep their places, whatever comes before them in the alphabet.
    let before: Vec<_> = judge.raised().map(|(about, _)| about.clone()).collect();
    let mut more = all(1_000);
    more.insert(0, figure("a", 12));
    judge.observe(&rules, &measured, more, Duration::from_secs(1));
    assert_eq!(judge.raised().map(|(about, _)| about.clone()).collect::<Vec<_>>(), before);
}

#[test]
fn windows_forget() {
    let at = Duration::from_secs;
    let mut window = Window::new(at(60));
    assert_eq!(window.grown(at(0), &[100, 7]), [0, 0]);
    assert_eq!(window.grown(at(30), &[130, 7]), [30, 0]);
    assert_eq!(window.grown(at(60), &[140, 8]), [40, 1]);
    assert_eq!(window.grown(at(90), &[140, 8]), [10, 1]);
    assert_eq!(window.grown(at(150), &[140, 8]), [0, 0]);
    // A counter that begins anew has not grown.
    assert_eq!(window.grown(at(151), &[3, 9]), [0, 1]);
    // However often it is asked, it keeps a bounded number of readings.
    for ms in 0..100_000 {
        window.grown(Duration::from_millis(200_000 + ms), &[1, 1]);
    }
    assert!(format!("{window:?}").matches("[1, 1]").count() <= 63);
}

#[test]
fn quantiles_and_shares() {
    // 99 of 100 up to the fifth bound, 1 ms.
    let mut cumulative = vec![0, 0, 0, 0, 99];
    cumulative.resize(17, 99);
    cumulative.push(100);
    assert_eq!(p99_us(&cumulative, 100), Some(1_000));
    assert_eq!(p99_us(&cumulative, 101), None);
    cumulative[4..17].fill(98);
    assert_eq!(p99_us(&cumulative, 100), Some(20_000_000));
    assert_eq!(p99_us(&[0; 18], 0), None);
    assert_eq!(p99_us(&[], 0), None);
    assert_eq!((share(1, 100, 100), share(1, 99, 100), share(0, 0, 0)), (Some(100), None, None));
    assert_eq!(share(u64::MAX, u64::MAX, 1), Some(1));
}

proptest! {
    /// It is an alert only after the whole of its time beyond the one limit, and ends only after the whole of its time up to the other.
    #[test]
    fn no_figure_that_trembles_tells_twice(
        values in prop::collection::vec(prop::option::of(0_u64..16), 1..80), hold in 0_u64..4, calm in 0_u64..4
    ) {
        let told = told(&rules(hold, calm), &values);
        let bad = |value: &Option<u64>| value.is_some_and(|value| value > 10);
        let calmed = |value: &Option<u64>| value.is_none_or(|value| value <= 5);
        for (second, pair) in told.windows(2).enumerate() {
            let now = second + 1;
            if pair[0] == 0 && pair[1] == 1 {
                prop_assert!(values[now.saturating_sub(hold as usize)..=now].iter().all(bad));
            }
            if pair[0] == 1 && pair[1] == 0 {
                prop_assert!(values[now.saturating_sub(calm as usize)..=now].iter().all(calmed));
            }
        }
        // What lasts is told, and what is over ends.
        let last = values.iter().rev().take_while(|value| bad(value)).count();
        prop_assert!(last <= hold as usize || told.last() == Some(&1));
        let last = values.iter().rev().take_while(|value| calmed(value)).count();
        prop_assert!(last <= calm as usize || told.last() == Some(&0));
    }
}
