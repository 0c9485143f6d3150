//! What a report says, without how it looks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::cli::body::member;

/// Bars of one chart at most.
const BARS_MAX: usize = 24;

/// A part of a report.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Section {
    pub(super) title: &'static str,
    /// Sentences before the table.
    pub(super) said: Vec<String>,
    pub(super) chart: Option<Chart>,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Bars, each a share of a whole.
#[derive(Debug, PartialEq)]
pub(super) struct Chart {
    pub(super) caption: &'static str,
    pub(super) bars: Vec<Bar>,
}

/// A bar.
#[derive(Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) name: String,
    /// From 0 to 1; longer ones are cut.
    pub(super) share: f64,
    /// What stands at its end.
    pub(super) value: String,
    /// It is one to look at.
    pub(super) is_bad: bool,
}

/// All sections that the answer has something for.
pub(super) fn of(report: &Value) -> Vec<Section> {
    [
        keys(report),
        access(report),
        audit(report),
        incidents(report),
        alerts(report),
        backups(report),
        master(report),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A member as text; nothing for what is not there.
fn text(value: &Value, member: &str) -> String {
    match value.get(member) {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            if items.is_empty() { "–".to_owned() } else { items.join(", ") }
        }
        Some(other) => other.to_string(),
    }
}

fn time(value: &Value, member: &str) -> Option<DateTime<Utc>> {
    value.get(member)?.as_str()?.parse().ok()
}

fn day(value: &Value, member: &str) -> String {
    time(value, member).map_or_else(|| "–".to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string())
}

fn keys(report: &Value) -> Option<Section> {
    let now = time(report, "generated_at")?;
    let keys = list(report, "keys");
    let count = |is: &dyn Fn(&Value) -> bool| keys.iter().filter(|key| is(key)).count();
    let overdue = count(&|key| member(key, "overdue").as_bool() == Some(true));
    let without = count(&|key| member(key, "active_since").is_null());
    let compromised = count(&|key| member(key, "compromised").as_u64() > Some(0));
    let said = vec![
        format!(
            "{} keys; {overdue} overdue for rotation, {without} without a primary, {compromised} with compromised versions.",
            keys.len()
        ),
        format!("{} rows were changed outside the service.", text(report, "quarantined")),
    ];
    let mut bars: Vec<Bar> = keys.iter().filter_map(|key| period(key, now)).collect();
    bars.sort_by(|one, other| other.share.total_cmp(&one.share));
    bars.truncate(BARS_MAX);
    let rows = keys.iter().map(|key| {
        vec![
            text(key, "name"),
            text(key, "type"),
            text(key, "tier"),
            member(key, "cryptoperiod_seconds")
                .as_f64()
                .map_or_else(|| "–".to_owned(), |seconds| format!("{:.1} d", seconds / 86_400.0)),
            day(key, "active_since"),
            day(key, "next_rotation_at"),
            if member(key, "overdue").as_bool() == Some(true) { "overdue" } else { "in time" }.to_owned(),
            text(key, "versions"),
            text(key, "compromised"),
        ]
    });
    Some(Section {
        title: "Keys and cryptoperiods",
        said,
        chart: Some(Chart { caption: "How much of its cryptoperiod each key has used", bars }),
        columns: vec![
            "key",
            "type",
            "tier",
            "cryptoperiod",
            "active since",
            "next rotation",
            "state",
            "versions",
            "compromised",
        ],
        rows: rows.collect(),
    })
}

/// How much of a key's cryptoperiod is over.
fn period(key: &Value, now: DateTime<Utc>) -> Option<Bar> {
    let (since, next) = (time(key, "active_since")?, time(key, "next_rotation_at")?);
    let whole = (next - since).num_seconds().max(1) as f64;
    let share = (now - since).num_seconds() as f64 / whole;
    let is_bad = member(key, "overdue").as_bool() == Some(true);
    Some(Bar { name: text(key, "name"), share, value: format!("{:.0} %", share * 100.0), is_bad })
}

fn access(report: &Value) -> Option<Section> {
    let principals = list(report, "principals");
    let most = principals.iter().map(|one| list(one, "permissions").len()).max()?.max(1) as f64;
    let mut bars: Vec<Bar> = principals
        .iter()
        .map(|one| {
            let count = list(one, "permissions").len();
            let is_bad = list(one, "roles").iter().any(|role| role == "admin");
            Bar { name: text(one, "name"), share: count as f64 / most, value: count.to_string(), is_bad }
        })
        .collect();
    bars.sort_by(|one, other| other.share.total_cmp(&one.share));
    bars.truncate(BARS_MAX);
    let admins =
        principals.iter().filter(|one| list(one, "roles").iter().any(|role| role == "admin")).count();
    let lasting = principals
        .iter()
        .filter(|one| member(one, "kind").as_str() == Some("api_key") && member(one, "expires_at").is_null())
        .count();
    let rows = principals.iter().map(|one| {
        ["kind", "name", "id", "roles"]
            .map(|member| text(one, member))
            .into_iter()
            .chain([day(one, "expires_at"), day(one, "last_used_at"), text(one, "permissions")])
            .collect()
    });
    Some(Section {
        title: "Who may do what",
        said: vec![
            format!("{} principals; {admins} are administrators, {lasting} API keys do not expire.", principals.len()),
            "As Cedar decides by the shipped roles and all policies in force: a permission is listed if there is something to which it may apply.".to_owned(),
        ],
        chart: Some(Chart { caption: "Permissions by principal; administrators stand out", bars }),
        columns: vec!["kind", "name", "id", "roles", "expires", "last used", "permissions"],
        rows: rows.collect(),
    })
}

fn audit(report: &Value) -> Option<Section> {
    let checkpoints = list(report, "checkpoints");
    let mut said =
        vec![format!("{} chains of audit records have a checkpoint in the database.", checkpoints.len())];
    if let Some(log) = report.get("audit_log") {
        let whole = if member(log, "valid").as_bool() == Some(true) {
            "whole"
        } else {
            "NOT whole: run claviger audit verify"
        };
        said.push(format!("The log of the node {} is {whole}.", text(log, "node")));
    }
    let rows = checkpoints
        .iter()
        .map(|one| vec![text(one, "node"), text(one, "chain"), text(one, "records"), day(one, "at")]);
    Some(Section {
        title: "Audit log",
        said,
        chart: None,
        columns: vec!["node", "chain", "last checkpoint", "at"],
        rows: rows.collect(),
    })
}

fn incidents(report: &Value) -> Option<Section> {
    let incidents = list(report, "incidents");
    let states = ["waiting", "watching", "running", "failed", "done", "closed"];
    let count = |state: &str| incidents.iter().filter(|one| member(one, "state") == state).count();
    let most = states.iter().map(|state| count(state)).max().unwrap_or(0).max(1) as f64;
    let bars = states
        .iter()
        .map(|state| Bar {
            name: (*state).to_owned(),
            share: count(state) as f64 / most,
            value: count(state).to_string(),
            is_bad: matches!(*state, "waiting" | "running" | "failed"),
        })
        .collect();
    let rows = incidents.iter().map(|one| {
        let target = member(one, "target").as_object().and_then(|target| target.iter().next());
        let target = target.map(|(kind, what)| format!("{kind} {}", what.as_str().unwrap_or_default()));
        vec![
            text(one, "id"),
            target.unwrap_or_default(),
            text(one, "level"),
            text(one, "state"),
            day(one, "opened_at"),
            day(one, "finished_at"),
            text(one, "opened_by"),
            text(one, "reason"),
        ]
    });
    Some(Section {
        title: "Incidents",
        said: vec![format!("{} incidents, the latest ones first.", incidents.len())],
        chart: (!incidents.is_empty()).then_some(Chart { caption: "Incidents by state", bars }),
        columns: vec!["id", "about", "level", "state", "opened", "over", "by", "reason"],
        rows: rows.collect(),
    })
}

fn alerts(report: &Value) -> Option<Section> {
    let alerts = list(report, "alerts");
    report.get("alerts")?;
    let is_open = |one: &Value| member(one, "state") == "open";
    let is_left = |one: &Value| member(one, "acknowledged_at").is_null();
    let open = alerts.iter().filter(|one| is_open(one)).count();
    let left = alerts.iter().filter(|one| is_open(one) && is_left(one)).count();
    let mut rules: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for one in alerts {
        let (count, is_any_open) = rules.entry(text(one, "rule")).or_default();
        *count += 1;
        *is_any_open |= is_open(one);
    }
    let all = alerts.len().max(1) as f64;
    let mut bars: Vec<Bar> = rules
        .into_iter()
        .map(|(name, (count, is_bad))| Bar {
            name,
            share: count as f64 / all,
            value: count.to_string(),
            is_bad,
        })
        .collect();
    bars.sort_by(|one, other| other.share.total_cmp(&one.share));
    bars.truncate(BARS_MAX);
    let rows = alerts.iter().map(|one| {
        vec![
            text(one, "rule"),
            text(one, "subject"),
            text(one, "severity"),
            day(one, "raised_at"),
            text(one, "acknowledged_by"),
            day(one, "acknowledged_at"),
            day(one, "cleared_at"),
            text(one, "comment"),
        ]
    });
    Some(Section {
        title: "Alerts",
        said: vec![format!(
            "{} alerts within 90 days, the latest ones first; {open} are open, {left} of these nobody has taken up.",
            alerts.len()
        )],
        chart: (!alerts.is_empty()).then_some(Chart { caption: "Alerts by rule", bars }),
        columns: vec!["rule", "about", "severity", "raised", "taken up by", "at", "over", "comment"],
        rows: rows.collect(),
    })
}

fn backups(report: &Value) -> Option<Section> {
    let backups = report.get("backups")?;
    let (made, tested) = (list(backups, "made"), list(backups, "tested"));
    let schedule = match (member(backups, "due_at").is_null(), member(backups, "overdue") == true) {
        (true, _) => "There is no schedule of backups on this node.".to_owned(),
        (false, true) => format!("The backup that was due at {} is overdue.", day(backups, "due_at")),
        (false, false) => format!("The next backup of the schedule is due at {}.", day(backups, "due_at")),
    };
    let last_tested = tested.first().map_or_else(
        || "No backup is known to have been tested.".to_owned(),
        |one| format!("The last test was at {}, of the backup of {}.", day(one, "at"), day(one, "made_at")),
    );
    let row = |what: &str, one: &Value| {
        vec![what.to_owned(), day(one, "at"), text(one, "by"), day(one, "made_at"), text(one, "epoch")]
    };
    let rows = made.iter().map(|one| row("made", one)).chain(tested.iter().map(|one| row("tested", one)));
    Some(Section {
        title: "Backups",
        said: vec![schedule, last_tested],
        chart: None,
        columns: vec!["what", "at", "by", "backup of", "epoch"],
        rows: rows.collect(),
    })
}

fn master(report: &Value) -> Option<Section> {
    let master = report.get("master")?;
    let overdue =
        if member(master, "overdue").as_bool() == Some(true) { " It is overdue for rotation." } else { "" };
    let said = format!(
        "The master is the {}. in use, since {}, to be replaced by {}.{overdue}",
        text(master, "version"),
        day(master, "since"),
        day(master, "rotate_at"),
    );
    Some(Section { title: "Master key", said: vec![said], ..Section::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sections_count_and_measure() {
        let report = json!({
            "generated_at": "2026-11-29T00:00:00Z", "quarantined": 0,
            "keys": [
                {"name": "a", "active_since": "2026-11-19T00:00:00Z", "next_rotation_at": "2026-12-09T00:00:00Z", "overdue": false, "compromised": 0, "cryptoperiod_seconds": 1_728_000},
                {"name": "b", "active_since": "2026-11-01T00:00:00Z", "next_rotation_at": "2026-11-11T00:00:00Z", "overdue": true, "compromised": 1},
                {"name": "c", "active_since": null, "next_rotation_at": null, "overdue": false, "compromised": 0},
            ],
            "principals": [{"kind": "api_key", "name": "p", "roles": ["admin"], "permissions": ["x", "y"], "expires_at": null}],
            "incidents": [{"id": "i", "state": "failed", "target": {"key": "a"}}],
            "alerts": [
                {"rule": "staleness", "subject": "n", "state": "open", "raised_at": "2026-11-28T00:00:00Z", "acknowledged_at": null},
                {"rule": "staleness", "subject": "n", "state": "cleared", "acknowledged_by": "me", "acknowledged_at": "2026-11-28T00:00:00Z"},
                {"rule": "key_expiry", "subject": "k", "state": "cleared"},
            ],
            "backups": {
                "due_at": "2026-11-28T00:00:00Z", "overdue": true, "scheduled_at": null,
                "made": [{"at": "2026-11-27T00:00:00Z", "by": "cron"}],
                "tested": [{"at": "2026-11-27T10:00:00Z", "by": "me", "epoch": 7, "made_at": "2026-11-27T00:00:00Z"}],
            },
        });
        let sections = of(&report);
        assert_eq!(
            sections.iter().map(|section| section.title).collect::<Vec<_>>(),
            ["Keys and cryptoperiods", "Who may do what", "Audit log", "Incidents", "Alerts", "Backups"]
        );
        assert!(sections[5].said[0].ends_with("is overdue.") && sections[5].rows.len() == 2);
        assert!(
            sections[5].said[1].starts_with("The last test was at 2026-11-27 10:00"),
            "{:?}",
            sections[5].said
        );
        assert!(
            sections[0].said[0].starts_with("3 keys; 1 overdue for rotation, 1 without a primary, 1 with"),
            "{:?}",
            sections[0].said
        );
        let bars = &sections[0].chart.as_ref().unwrap().bars;
        assert_eq!(
            bars.iter().map(|bar| (bar.name.as_str(), bar.value.as_str(), bar.is_bad)).collect::<Vec<_>>(),
            [("b", "280 %", true), ("a", "50 %", false)]
        );
        assert!(sections[4].said[0].ends_with("1 are open, 1 of these nobody has taken up."));
        let bars = &sections[4].chart.as_ref().unwrap().bars;
        assert_eq!((bars[0].name.as_str(), bars[0].is_bad, bars[1].is_bad), ("staleness", true, false));
        assert!(sections[1].said[0].contains("1 are administrators, 1 API keys do not expire"));
        assert!(
            sections.iter().all(|section| section.rows.iter().all(|row| row.len() == section.columns.len()))
        );
        assert!(of(&json!({})).iter().all(|section| section.rows.is_empty()));
    }
}
