//! What is shipped for those who watch: rules and a dashboard, held against what a node says, and a page for each alert.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use claviger_actors::alerts::Rule;
use claviger_tests::{Redis, node};
use serde_json::{Value, json};

use super::{promtool, scrape, watched};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rules() -> String {
    fs::read_to_string(root().join("helm/claviger/alerts/claviger.rules.yaml")).unwrap()
}

fn dashboard() -> Value {
    let text = fs::read_to_string(root().join("helm/claviger/dashboards/claviger.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every name of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words
        .filter(|word| word.starts_with("claviger_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Every query of a dashboard, in panels and variables.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(text) if matches!(name.as_str(), "expr" | "query" | "definition") => {
                        found.push(text.to_owned());
                    }
                    _ => queries(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Rules and dashboard name only what a node has.
#[test]
fn every_name_in_rules_and_dashboard_is_in_a_scrape() {
    let redis = Redis::start();
    let issuers = json!({"nobody": {"issuer": "http://127.0.0.1:9", "audience": "kms"}}).to_string();
    let provider = json!({"token_endpoint": "http://127.0.0.1:9", "client_id": "us", "client_secret": "s"});
    let providers = json!({ "nobody": provider }).to_string();
    let node = watched(&[
        ("CLAVIGER_REDIS__URL", &redis.url()),
        ("CLAVIGER_ISSUERS", &issuers),
        ("CLAVIGER_PROVIDERS", &providers),
    ]);
    // What is counted only once it has happened.
    let admin = node.internal().with_token(Some(node::TOKEN));
    admin.post("/v1/keys/stores/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    let scrape = scrape(&node);
    let mut known: BTreeSet<String> = scrape.names().into_iter().map(str::to_owned).collect();
    for name in scrape.names() {
        known.extend(["_bucket", "_count", "_sum"].map(|end| format!("{name}{end}")));
    }
    let mut shown = Vec::new();
    queries(&dashboard(), &mut shown);
    assert!(shown.len() > 20, "{} queries", shown.len());
    let expressions: String =
        rules().lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let used: BTreeSet<String> = names(&shown.join("\n")).union(&names(&expressions)).cloned().collect();
    let missing: Vec<&String> = used.iter().filter(|name| !known.contains(*name)).collect();
    assert_eq!(missing, Vec::<&String>::new());
}

/// The rules are rules, and fire when they should and not before.
#[test]
fn rules_fire_when_they_should() {
    let rules = root().join("helm/claviger/alerts/claviger.rules.yaml");
    promtool(&["check", "rules", rules.to_str().unwrap()], "");
    let tests = root().join("tests/suite/metrics/rules.test.yaml");
    promtool(&["test", "rules", tests.to_str().unwrap()], "");
}

/// Each alert has a page that says what to do, and each page an alert.
#[test]
fn every_alert_has_its_page_in_the_runbook() {
    let runbook = fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let headings: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let rules = rules();
    let alerts = rules.lines().filter(|line| line.trim_start().starts_with("- alert:")).count();
    let linked: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url:"))
        .map(|url| url.rsplit_once("docs/runbook.md#").expect("a link into the runbook").1.trim())
        .collect();
    assert_eq!(linked.len(), alerts);
    let own = Rule::ALL.iter().map(|rule| rule.section());
    let linked: BTreeSet<String> = linked.into_iter().chain(own).map(str::to_owned).collect();
    assert_eq!(linked, headings);
}
