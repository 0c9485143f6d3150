//! Alerts: whatever is wrong is told once in the deployment, on every node, and so is its end.

mod causes;
mod habits;
pub(crate) mod keeping;
mod lacking;
mod mail;
mod receivers;
mod sink;
mod telling;

use std::{collections::BTreeMap, time::Duration};

use claviger_actors::clock::{Clock as _, SystemClock};
use claviger_tests::{
    Client, Node,
    listener::{Listener, Next},
    process,
};
use serde_json::{Value, json};

/// Now, by this machine.
fn now() -> chrono::DateTime<chrono::Utc> {
    SystemClock.now()
}

/// Longer than it takes until a schedule of minutes comes round.
const LONG: Duration = Duration::from_secs(90);

/// Rules that are quick to raise and to clear; limits are those that are shipped, but where a test would wait for days.
fn quick() -> Vec<(&'static str, String)> {
    let rules = json!({
        "verification_failures": {"calm": "1s"},
        "slow_operations": {"calm": "1s"},
        "publication_lag": {"calm": "1s"},
        "rotation_overdue": {"raise": 4, "calm": "1s"},
        "audit_unavailable": {"calm": "1s"},
        "staleness": {"calm": "1s"},
        "key_expiry": {"raise": 30 * 86_400, "clear": 31 * 86_400},
        "denied_attempts": {"calm": "1s"},
    });
    vec![
        ("CLAVIGER_ALERTS__TICK", "1s".to_owned()),
        ("CLAVIGER_ALERTS__WINDOW", "12s".to_owned()),
        ("CLAVIGER_ALERTS__RULES", rules.to_string()),
    ]
}

/// Alerts of a rule, newest first.
fn alerts(client: &Client, rule: &str) -> Vec<Value> {
    let all = client.get("/v1/alerts?limit=1000").expect(200);
    all["items"].as_array().unwrap().iter().filter(|alert| alert["rule"] == rule).cloned().collect()
}

/// The alert of a rule about something, once it is in a state.
#[track_caller]
pub(crate) fn in_state(client: &Client, (rule, subject): (&str, &str), state: &str) -> Value {
    let is_it = |alert: &Value| alert["subject"] == subject && alert["state"] == state;
    let found = || alerts(client, rule).into_iter().find(is_it);
    process::until(LONG, found)
        .unwrap_or_else(|| panic!("{rule} {subject} {state}: {:?}", alerts(client, rule)))
}

/// What each node tells its subscribers.
struct Ears(Vec<(Listener, Heard)>);

/// How often it was told: by event, rule and subject.
type Heard = BTreeMap<(String, String, String), usize>;

impl Ears {
    fn of(nodes: &[Node]) -> Self {
        let open = |node| (Listener::of(node, "?topics=alert.raised,alert.cleared"), BTreeMap::new());
        Self(nodes.iter().map(open).collect())
    }

    /// Every node has told of this as often as said, and of no more.
    #[track_caller]
    fn heard(&mut self, event: &str, (rule, subject): (&str, &str), times: usize) {
        let key = (event.to_owned(), rule.to_owned(), subject.to_owned());
        for (node, (listener, heard)) in self.0.iter_mut().enumerate() {
            let began = std::time::Instant::now();
            while heard.get(&key).copied().unwrap_or(0) < times && began.elapsed() < LONG {
                take(listener, heard, Duration::from_millis(500));
            }
            while take(listener, heard, Duration::ZERO) {}
            assert_eq!(heard.get(&key), Some(&times), "{key:?} on {node}: {heard:?}");
        }
    }
}

fn take(listener: &Listener, heard: &mut Heard, patience: Duration) -> bool {
    let Next::Told(told) = listener.next(patience) else { return false };
    if !told.event.is_empty() {
        let text = |member: &str| told.data[member].as_str().unwrap_or_default().to_owned();
        assert!(text("runbook_url").contains("docs/runbook.md#"), "{told:?}");
        *heard.entry((told.event.clone(), text("name"), text("subject"))).or_default() += 1;
    }
    true
}
