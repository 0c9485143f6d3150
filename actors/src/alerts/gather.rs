//! What this node measures, round after round.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use claviger_entity::KeyState;

use super::{
    core::{Figure, Window, p99_us, share},
    figures::{Expiring, Sample, Scheduled},
    handle::Shared,
    rule::Rule,
};
use crate::{
    cluster::View,
    keyring::{
        Snapshot,
        core::lacks_standby,
        figures, policy,
        record::{Key, Time},
    },
};

/// Fewer verifications or operations within a window are not judged.
const LEAST: u64 = 100;
/// Fewer rotations within a day are not judged.
const LEAST_ROTATIONS: u64 = 20;
/// What lives for less is not warned of: it ends all the time.
const SHORT_LIVED: i64 = 14 * 86_400;
/// A node that has said nothing for so long is no laggard but silent.
const SILENT_MS: i64 = 10_000;
/// A node that has said nothing for so long is taken to be gone for good.
const GONE_MS: i64 = 3_600_000;
/// Longest time between two looks at the other nodes, and shortest.
const PEERS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));
/// Longest time for one.
const PEERS_MAX: Duration = Duration::from_secs(5);

/// What is remembered between rounds.
pub(super) struct Gatherer {
    verifications: Window,
    operations: Window,
    denied: Window,
    redis_lost: Option<Duration>,
    peers_at: Option<Duration>,
    /// How far a node is behind, in milliseconds, and which.
    lag: (u64, String),
}

/// What was measured, and which rules could be.
#[derive(Default)]
pub(super) struct Round {
    pub(super) measured: BTreeSet<Rule>,
    pub(super) figures: Vec<Figure>,
}

impl Round {
    fn add(&mut self, rule: Rule, subject: &str, value: u64, summary: String) {
        self.figures.push(Figure { rule, subject: subject.to_owned(), value, summary });
    }
}

impl Gatherer {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            verifications: Window::new(window),
            operations: Window::new(window),
            denied: Window::new(window),
            redis_lost: None,
            peers_at: None,
            lag: (0, String::new()),
        }
    }

    /// Everything that can be measured now.
    pub(super) async fn round(&mut self, shared: &Shared, sample: &Sample, now: Duration) -> Round {
        let mut round = Round::default();
        self.requests(&mut round, sample, now);
        let node = &shared.scribe.node;
        round.measured.extend([Rule::AuditUnavailable, Rule::CertificateExpiry]);
        if !sample.audit {
            let summary = format!("{node} can't write its audit log and uses no key");
            round.add(Rule::AuditUnavailable, node, 1, summary);
        }
        let time = shared.clock.now();
        backups(&mut round, node, sample.backups, time);
        for Expiring { name, at } in &sample.certificates {
            let left = seconds_left(*at, time);
            round.add(
                Rule::CertificateExpiry,
                name,
                left,
                format!("the certificate {name} ends at {}", shown(*at)),
            );
        }
        {
            let snapshot = shared.ring.snapshot();
            // What is overdue for so long that it is an alert was not in time.
            let late = shared.settings.rules.of(Rule::RotationOverdue).raise;
            rotations(&mut round, &snapshot, Duration::from_secs(late), time);
            expiries(&mut round, &snapshot, time);
            let is_key = |name: &str| name.parse().is_ok_and(|name| snapshot.key(&name).is_ok());
            shared.habits.prune(is_key);
        }
        round.measured.extend([Rule::UnusualUse, Rule::UnusualRate, Rule::DecryptStorm]);
        round.figures.extend(shared.habits.figures(now));
        self.cluster(&mut round, shared, now).await;
        round
    }

    fn requests(&mut self, round: &mut Round, sample: &Sample, now: Duration) {
        round.measured.extend([Rule::VerificationFailures, Rule::SlowOperations, Rule::DeniedAttempts]);
        let grown = self.verifications.grown(now, &[sample.failures, sample.verifications]);
        if let [failures, all] = grown.as_slice()
            && let Some(share) = share(*failures, *all, LEAST)
        {
            let summary = format!("{failures} of the last {all} tokens and signatures are not valid");
            round.add(Rule::VerificationFailures, "", share, summary);
        }
        if let Some(us) = p99_us(&self.operations.grown(now, &sample.operations), LEAST) {
            let summary =
                format!("one in a hundred signatures and verifications takes up to {} ms", us / 1_000);
            round.add(Rule::SlowOperations, "", us, summary);
        }
        if let [denied] = self.denied.grown(now, &[sample.denied]).as_slice() {
            let summary = format!("{denied} requests lacked a right or a credential");
            round.add(Rule::DeniedAttempts, "", *denied, summary);
        }
    }

    /// How far nodes are behind, and which say nothing.
    async fn cluster(&mut self, round: &mut Round, shared: &Shared, now: Duration) {
        self.redis_lost = match shared.cluster.redis() {
            Some(false) => Some(self.redis_lost.unwrap_or(now)),
            Some(true) | None => None,
        };
        let pause = (shared.settings.max_staleness / 8).clamp(PEERS.1, PEERS.0);
        if self.peers_at.is_none_or(|at| now.saturating_sub(at) >= pause) {
            self.peers_at = Some(now);
            // A node without word from the database can say nothing of it; the others do.
            if let Ok(Ok(view)) = tokio::time::timeout(PEERS_MAX, shared.cluster.view_with_lag()).await {
                round.measured.insert(Rule::Staleness);
                self.lag = lag(&view);
                silences(round, shared, &view);
            }
        }
        round.measured.insert(Rule::PublicationLag);
        let lost = self.redis_lost.map_or(0, |since| millis(now.saturating_sub(since)));
        let (behind, node) = &self.lag;
        if lost >= *behind {
            let summary = format!(
                "Redis has not answered for {} s; other nodes hear of changes by their polls",
                lost / 1_000
            );
            round.add(Rule::PublicationLag, "", lost, summary);
        } else {
            let summary = format!("{node} does not use a change that was made {} s ago", behind / 1_000);
            round.add(Rule::PublicationLag, "", *behind, summary);
        }
    }
}

/// Backups that should be there.
fn backups(round: &mut Round, node: &str, scheduled: Option<Scheduled>, now: Time) {
    let Some(Scheduled { due_at, failed }) = scheduled else { return };
    round.measured.extend([Rule::BackupOverdue, Rule::BackupFailed]);
    let late = u64::try_from((now - due_at).num_seconds()).unwrap_or(0);
    if late > 0 {
        let summary = format!("the backup that was due at {} is not made", shown(due_at));
        round.add(Rule::BackupOverdue, "", late, summary);
    }
    if failed {
        let summary = format!("{node} could not make the backup of the schedule; its log says why");
        round.add(Rule::BackupFailed, node, 1, summary);
    }
}

/// Nodes whose last word is older than it may be.
fn silences(round: &mut Round, shared: &Shared, view: &View) {
    let snapshot = shared.ring.snapshot();
    let mut newest: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for member in view.members.iter().filter(|member| !member.draining) {
        let seen = newest.entry(&member.name).or_insert((member.seen_at, member.max_staleness));
        *seen = (*seen).max((member.seen_at, member.max_staleness));
    }
    for (name, (seen_at, patience)) in newest {
        let age = view.now.saturating_sub(seen_at).max(0);
        if age > GONE_MS || snapshot.standing().bars_node(name) {
            continue;
        }
        let percent = age.saturating_mul(100) / patience.max(1);
        let summary = format!(
            "{name} has had no word from the database for {} s; it refuses work after {} s",
            age / 1_000,
            patience / 1_000
        );
        round.add(Rule::Staleness, name, u64::try_from(percent).unwrap_or(0), summary);
    }
}

/// The node that is behind most.
fn lag(view: &View) -> (u64, String) {
    let behind = view.members.iter().filter_map(|member| {
        let since = view.behind_since.get(&member.boot_id)?;
        let is_heard = view.now.saturating_sub(member.seen_at) <= SILENT_MS;
        let late = u64::try_from(view.now.saturating_sub(*since)).unwrap_or(0);
        (is_heard && !member.draining).then(|| (late, member.name.clone()))
    });
    behind.max().unwrap_or_default()
}

/// Keys whose rotation is overdue, and how many of those of a day were in time.
fn rotations(round: &mut Round, snapshot: &Snapshot, in_time_until: Duration, now: Time) {
    round.measured.extend([Rule::RotationOverdue, Rule::RotationFailures, Rule::StandbyMissing]);
    let (mut due, mut in_time) = (0, 0);
    for key in snapshot.ring().keys() {
        if key.record.name.is_internal() || key.record.deleted_at.is_some() {
            continue;
        }
        let name = key.record.name.as_str();
        if lacks_standby(key) {
            round.add(Rule::StandbyMissing, name, 1, format!("{name} has no standby"));
        }
        if let Some(late) = figures::overdue(key, now) {
            let summary = format!("{name} should have been rotated {} s ago", late.as_secs());
            round.add(Rule::RotationOverdue, name, late.as_secs(), summary);
            due += u64::from(late > in_time_until);
        } else if let Some(late) = last_rotation(key, now) {
            due += 1;
            in_time += u64::from(late <= in_time_until);
        }
    }
    if let Some(share) = share(in_time, due, LEAST_ROTATIONS) {
        let summary = format!("{in_time} of {due} rotations of the last day were done in time");
        round.add(Rule::RotationFailures, "", share, summary);
    }
}

/// How late the key was rotated by its schedule, if that was within the last day.
fn last_rotation(key: &Key, now: Time) -> Option<Duration> {
    let primary = key.primary()?;
    let activated_at = primary.activated_at.filter(|at| now - *at <= chrono::TimeDelta::days(1))?;
    let before = key.versions.range(..primary.version).next_back().map(|(_, version)| version)?;
    // One that was taken out of use was not replaced by the schedule.
    let by_schedule = matches!(before.state, KeyState::Deactivated | KeyState::Retired);
    let (since, every) = (before.activated_at.filter(|_| by_schedule)?, key.record.rotation.every);
    if key.record.rotation.cron.is_some() {
        return Some(Duration::ZERO);
    }
    let every = every.unwrap_or_else(|| policy::tier_period(key.record.tier)).to_delta();
    let lead = policy::lead(key.record.key_type, &key.record.rotation).to_delta();
    let due = since.checked_add_signed(every)?.max(primary.created_at.checked_add_signed(lead)?);
    Some((activated_at - due).to_std().unwrap_or_default())
}

/// Keys and API keys that end.
fn expiries(round: &mut Round, snapshot: &Snapshot, now: Time) {
    round.measured.insert(Rule::KeyExpiry);
    let is_long = |from: Time, to: Time| (to - from).num_seconds() >= SHORT_LIVED;
    for key in snapshot.ring().keys() {
        let Some(temporary) = key.record.temporary.as_ref().filter(|_| key.record.deleted_at.is_none())
        else {
            continue;
        };
        let (name, at) = (key.record.name.as_str(), temporary.expires_at);
        if is_long(key.record.created_at, at) {
            let summary = format!("the temporary key {name} is destroyed at {}", shown(at));
            round.add(Rule::KeyExpiry, &format!("key {name}"), seconds_left(at, now), summary);
        }
    }
    for principal in snapshot.access().api_keys_after(None) {
        let record = &principal.record;
        let Some(at) = record.expires_at.filter(|at| record.disabled_at.is_none() && *at > now) else {
            continue;
        };
        if is_long(record.created_at, at) {
            let id = record.id.simple();
            let summary = format!("the API key {} ({id}) ends at {}", record.name, shown(at));
            round.add(Rule::KeyExpiry, &format!("api_key {id}"), seconds_left(at, now), summary);
        }
    }
}

fn seconds_left(at: Time, now: Time) -> u64 {
    u64::try_from((at - now).num_seconds()).unwrap_or(0)
}

fn shown(at: Time) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
