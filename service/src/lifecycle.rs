//! What a node says of itself: that it has started, with which settings, what of them is another than before, and that it has stopped.

use chrono::{DateTime, Utc};
use claviger_actors::{
    audit::{chain_in, event_of},
    store::{Before, EventRow, NodeSettings, Starting},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{config::Settings, http::state::AppState};

/// Letters of a value that are shown; the whole of it is compared.
const SHOWN: usize = 100;

/// A record of a node about itself.
#[derive(Serialize)]
struct Record<'a> {
    ts: DateTime<Utc>,
    event: &'static str,
    operation: &'static str,
    actor: &'static str,
    outcome: &'static str,
    node: &'a str,
    epoch: u64,
    version: &'static str,
    /// What it was started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Map<String, Value>>,
    /// Before and now, by setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Map<String, Value>>,
}

impl<'a> Record<'a> {
    fn of(state: &'a AppState, operation: &'static str) -> Self {
        Self {
            ts: state.clock.now(),
            event: event_of(operation),
            operation,
            actor: "system",
            outcome: "ok",
            node: &state.node,
            epoch: state.ring.snapshot().epoch.0,
            version: env!("CARGO_PKG_VERSION"),
            settings: None,
            changed: None,
        }
    }

    /// Into the log. A node whose log can't be written starts and stops all the same: it uses no key until it can.
    async fn append(&self, state: &AppState) {
        if let Err(error) = state.audit.append(self, true).await {
            tracing::warn!(%error, event = self.event, "it is recorded in the database only");
        }
    }

    fn text(&self) -> Option<String> {
        let text = serde_json::to_string(self);
        text.inspect_err(|error| tracing::error!(%error, "a record can't be written")).ok()
    }
}

/// Puts on record that the node has started and what of its configuration has changed, before anybody is answered. What it is compared with
/// is replaced last, so that a node which dies in between says it again.
pub(crate) async fn started(state: &AppState, settings: &Settings) {
    let directory = &settings.audit.dir;
    let now = settings.posture();
    let before = state.ring.settings_before(chain_in(directory), &state.node).await;
    let before = before.unwrap_or_else(|error| {
        tracing::warn!(%error, "the settings of before are not known; what has changed is not said");
        Before::Nothing
    });
    let shown = now.iter().map(|(name, value)| (name.clone(), cut(value).into())).collect();
    let mut records = vec![Record { settings: Some(shown), ..Record::of(state, "node.start") }];
    let changed = changed(&before, &now);
    if !changed.is_empty() {
        tracing::warn!(settings = ?changed.keys().collect::<Vec<_>>(), "the configuration is not that of the start before");
        records.push(Record { changed: Some(changed), ..Record::of(state, "config.change") });
    }
    for record in &records {
        record.append(state).await;
    }
    let events: Vec<EventRow> = records.iter().filter_map(|record| EventRow::read(record.text()?)).collect();
    // The log may have begun just now.
    let starting =
        Starting { node: &state.node, chain: chain_in(directory), settings: &now, at: state.clock.now() };
    if let Err(error) = state.ring.keep_settings(starting, &events).await {
        tracing::warn!(%error, "the start is recorded in the log only");
    }
}

/// Puts on record that the node stops in order.
pub(crate) async fn stopped(state: &AppState) {
    let record = Record::of(state, "node.stop");
    record.append(state).await;
    if let Some(text) = record.text() {
        state.keeper.record(text);
    }
}

/// Before and now, of each setting that differs. One that the release before did not have has not changed.
fn changed(before: &Before, now: &NodeSettings) -> Map<String, Value> {
    let empty = NodeSettings::new();
    let (known, is_damaged) = match before {
        Before::Nothing => return Map::new(),
        Before::Settings(known) => (known, false),
        Before::Damaged => {
            tracing::error!(
                "what this node was started with before was changed in the database from outside"
            );
            (&empty, true)
        }
    };
    let differs = |name: &String, value: &String| match known.get(name) {
        Some(known) => known != value,
        None => is_damaged,
    };
    let differing = now.iter().filter(|(name, value)| differs(name, value));
    differing
        .map(|(name, value)| (name.clone(), json!([known.get(name).map(|known| cut(known)), cut(value)])))
        .collect()
}

fn cut(value: &str) -> String {
    let mut letters = value.chars();
    let mut shown: String = letters.by_ref().take(SHOWN).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> NodeSettings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_was_known_and_differs_has_changed() {
        let now = settings(&[("a", "1"), ("b", "2"), ("new", "3")]);
        let before = Before::Settings(settings(&[("a", "1"), ("b", "1"), ("gone", "0")]));
        assert_eq!(Value::Object(changed(&before, &now)), json!({"b": ["1", "2"]}));
        assert!(changed(&Before::Nothing, &now).is_empty());
        assert_eq!(
            Value::Object(changed(&Before::Damaged, &now)),
            json!({"a": [null, "1"], "b": [null, "2"], "new": [null, "3"]})
        );
    }

    #[test]
    fn a_long_value_is_compared_whole_and_shown_in_part() {
        let (one, other) = ("ä".repeat(300), "ä".repeat(299) + "b");
        let changed = changed(&Before::Settings(settings(&[("a", &one)])), &settings(&[("a", &other)]));
        assert_eq!(changed["a"][0].as_str().map(|text| text.chars().count()), Some(SHOWN + 1));
    }
}
