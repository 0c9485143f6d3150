//! When something is an alert.

use std::{collections::BTreeMap, time::Duration};

use claviger_crypto::json;
use claviger_entity::HumanDuration;
use serde_json::{Map, Value};

use crate::{
    issuers::Problems,
    settings::{Judge, SECONDS, duration},
};

/// Rules that there are.
pub const ALERT_RULES: [&str; 16] = [
    "verification_failures",
    "slow_operations",
    "publication_lag",
    "rotation_overdue",
    "rotation_failures",
    "audit_unavailable",
    "staleness",
    "certificate_expiry",
    "key_expiry",
    "denied_attempts",
    "unusual_use",
    "unusual_rate",
    "decrypt_storm",
    "standby_missing",
    "backup_overdue",
    "backup_failed",
];
const MEMBERS: [&str; 6] = ["enabled", "raise", "clear", "hold", "calm", "severity"];
const SETTING: &str = "alerts.rules";
/// Levels of brackets in the map.
const DEPTH: usize = 4;
/// The runbook of this release.
const RUNBOOK: &str = "https://github.com/claviger/claviger/blob/main/docs/runbook.md";

/// When something is an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    /// How often it is looked at.
    pub tick: Duration,
    /// Time over which failures and times of operations are counted.
    pub window: Duration,
    /// For how long a key must have been used on a node before anything about its use is unusual.
    pub learning: Duration,
    /// What is wanted otherwise than shipped, by rule.
    pub rules: BTreeMap<String, AlertRule>,
    /// Where the runbook is.
    pub runbook: String,
    /// After this further people are told of what nobody has taken up; `None` = never.
    pub escalate_after: Option<Duration>,
}

/// A rule as it is wanted; absent = as shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertRule {
    /// It is watched.
    pub enabled: Option<bool>,
    /// Beyond this it is an alert.
    pub raise: Option<u64>,
    /// Up to this it is none any more.
    pub clear: Option<u64>,
    /// For how long it must be beyond.
    pub hold: Option<Duration>,
    /// For how long it must not be any more.
    pub calm: Option<Duration>,
    /// `warning` or `critical`.
    pub severity: Option<String>,
}

impl Judge<'_> {
    pub(crate) fn alerts(&mut self) -> Alerts {
        let rule = "must be a duration from \"1s\" to \"1m\"";
        let tick = self.parse("alerts.tick", rule, |text| {
            duration(text).filter(|tick| *tick <= Duration::from_secs(60))
        });
        Alerts {
            tick: tick.unwrap_or(Duration::from_secs(5)),
            window: self.parse("alerts.window", SECONDS, duration).unwrap_or(Duration::from_secs(300)),
            learning: self.parse("alerts.learning", SECONDS, duration).unwrap_or(Duration::from_secs(86_400)),
            rules: self.alert_rules(),
            runbook: self
                .parse("alerts.runbook", "must be an http or https URL without # and spaces", runbook)
                .unwrap_or_else(|| RUNBOOK.to_owned()),
            escalate_after: self.escalate_after(),
        }
    }

    fn escalate_after(&mut self) -> Option<Duration> {
        let rule = "must be a duration such as \"15m\", or \"0s\" for never";
        let given = self.parse("alerts.escalate_after", rule, |text| text.parse::<HumanDuration>().ok());
        let after = Duration::from_secs(given.map_or(900, |given| given.as_secs()));
        (!after.is_zero()).then_some(after)
    }

    fn alert_rules(&mut self) -> BTreeMap<String, AlertRule> {
        let Some(given) = self.layers.get(SETTING) else { return BTreeMap::new() };
        let Ok(map) = json::parse_object(given.text.as_bytes(), DEPTH) else {
            self.problem(given.origin.clone(), "must be a JSON object of rules by name, no member twice");
            return BTreeMap::new();
        };
        let mut rules = BTreeMap::new();
        for (name, members) in &map {
            let mut problems = Problems { section: SETTING, origin: &given.origin, name, found: Vec::new() };
            if !ALERT_RULES.contains(&name.as_str()) {
                problems.add("", &format!("is none of {}", ALERT_RULES.join(", ")));
            }
            match members.as_object() {
                Some(members) => drop(rules.insert(name.clone(), wanted(members, &mut problems))),
                None => problems.add("", "must be a table"),
            }
            self.problems.append(&mut problems.found);
        }
        rules
    }
}

fn wanted(members: &Map<String, Value>, problems: &mut Problems<'_>) -> AlertRule {
    if members.keys().any(|member| !MEMBERS.contains(&member.as_str())) {
        problems.add("", &format!("has a member that is none of {}", MEMBERS.join(", ")));
    }
    let time = |text: &str| Some(Duration::from_secs(text.parse::<HumanDuration>().ok()?.as_secs()));
    let severity = |text: &str| matches!(text, "warning" | "critical").then(|| text.to_owned());
    let mut number = |member, rule| {
        let given = members.get(member)?;
        let number = given.as_u64().or_else(|| given.as_str()?.parse().ok());
        if number.is_none() {
            problems.add(member, rule);
        }
        number
    };
    let whole = "must be a whole number, in the unit of the rule";
    let (raise, clear) = (number("raise", whole), number("clear", whole));
    let enabled = members.get("enabled").and_then(|given| {
        let enabled = given.as_bool();
        if enabled.is_none() {
            problems.add("enabled", "must be true or false");
        }
        enabled
    });
    let rule = "must be a duration such as \"30s\", or \"0s\"";
    AlertRule {
        enabled,
        raise,
        clear,
        hold: problems.text(members, "hold", rule, time),
        calm: problems.text(members, "calm", rule, time),
        severity: problems.text(members, "severity", "must be \"warning\" or \"critical\"", severity),
    }
}

fn runbook(text: &str) -> Option<String> {
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    let is_clean = text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    (is_url && is_clean).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::{ConfigError, Settings};

    fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Alerts, ConfigError> {
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(file, variables, none).map(|settings| settings.alerts)
    }

    #[test]
    fn file_and_environment_say_the_same() {
        let file = "[alerts]\ntick = \"1s\"\n[alerts.rules.staleness]\nraise = 40\ncalm = \"1m\"\nseverity = \"warning\"\n[alerts.rules.key_expiry]\nenabled = false\n";
        let variables = [
            ("CLAVIGER_ALERTS__TICK", "1s"),
            (
                "CLAVIGER_ALERTS__RULES",
                r#"{"staleness": {"raise": 40, "calm": "1m", "severity": "warning"}, "key_expiry": {"enabled": false}}"#,
            ),
        ];
        let alerts = load(Some(file), &[]).unwrap();
        assert_eq!(alerts, load(None, &variables).unwrap());
        let minute = Some(Duration::from_secs(60));
        let staleness = &alerts.rules["staleness"];
        assert_eq!((staleness.raise, staleness.calm, staleness.hold), (Some(40), minute, None));
        assert_eq!(alerts.rules["key_expiry"].enabled, Some(false));
        let shipped = load(None, &[]).unwrap();
        assert_eq!((shipped.tick, shipped.window), (Duration::from_secs(5), Duration::from_secs(300)));
        assert!(shipped.rules.is_empty() && shipped.runbook.ends_with("docs/runbook.md"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for rules in [
            "[]",
            "{\"staleness\": 7}",
            "{\"stale\": {}}",
            "{\"staleness\": {\"rise\": 1}}",
            "{\"staleness\": {\"raise\": -1}}",
            "{\"staleness\": {\"raise\": \"much\"}}",
            "{\"staleness\": {\"hold\": 7}}",
            "{\"staleness\": {\"severity\": \"bad\"}}",
            "{\"staleness\": {\"enabled\": \"yes\"}}",
        ] {
            let error = load(None, &[("CLAVIGER_ALERTS__RULES", rules)]).unwrap_err();
            assert_eq!(error.setting, "CLAVIGER_ALERTS__RULES", "{rules}");
        }
        for (name, value) in [("TICK", "0s"), ("TICK", "2m"), ("WINDOW", "x"), ("RUNBOOK", "file:///x#y")] {
            let name = format!("CLAVIGER_ALERTS__{name}");
            assert_eq!(load(None, &[(&name, value)]).unwrap_err().setting, name);
        }
    }
}
