//! How alerts are kept: taken up once, ended when whoever saw it has died, and not to be edited.

use claviger_tests::{Cluster, Node, process};
use serde_json::{Value, json};

use super::{LONG, alerts, in_state};

/// An API key that ends in three weeks is an alert for as long as it is there.
const RULES: &str = r#"{"key_expiry": {"raise": 2592000, "clear": 2592000}}"#;
pub(crate) const SOON: [(&str, &str); 2] =
    [("CLAVIGER_ALERTS__TICK", "1s"), ("CLAVIGER_ALERTS__RULES", RULES)];

/// A channel that reaches nobody.
pub(crate) const DEAF: (&str, &str) = (
    "CLAVIGER_CHANNELS",
    r#"{"deaf": {"type": "webhook", "url": "http://127.0.0.1:1", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}"#,
);

/// The id of a message that is to be told over it.
pub(crate) fn some_message(client: &claviger_tests::Client) -> String {
    let _alert = some_alert(client);
    let all = client.get("/v1/alerts/deliveries").expect(200);
    all["items"][0]["id"].as_str().unwrap().to_owned()
}

/// The id of an alert that is there, whatever becomes of it.
pub(crate) fn some_alert(client: &claviger_tests::Client) -> String {
    let first = || client.get("/v1/alerts").expect(200)["items"][0]["id"].as_str().map(str::to_owned);
    first().unwrap_or_else(|| {
        let (_, subject) = ending(client);
        in_state(client, ("key_expiry", &subject), "open")["id"].as_str().unwrap().to_owned()
    })
}

pub(super) fn ending(client: &claviger_tests::Client) -> (String, String) {
    let end = (super::now() + chrono::TimeDelta::days(21)).to_rfc3339();
    let key = json!({"name": "ending", "roles": ["verifier"], "expires_at": end});
    let made = client.post("/v1/api-keys", &key).expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let subject = format!("api_key {}", id.replace('-', ""));
    (id, subject)
}

#[test]
fn an_alert_is_taken_up_once() {
    let node = Node::with(&SOON);
    let client = node.client();
    let (id, subject) = ending(&client);
    let alert = in_state(&client, ("key_expiry", &subject), "open");
    let path = format!("/v1/alerts/{}", alert["id"].as_str().unwrap());
    assert_eq!(client.get(&path).expect(200), alert);
    assert_eq!((&alert["severity"], &alert["acknowledged_by"]), (&json!("warning"), &Value::Null));
    let comment = json!({"comment": "a new one is on its way"});
    let taken = client.post(&format!("{path}/ack"), &comment).expect(200);
    assert_eq!(
        (&taken["comment"], &taken["acknowledged_by"]),
        (&comment["comment"], &json!("bootstrap-admin"))
    );
    let again = client.post(&format!("{path}/ack"), &json!({"comment": "me too"})).expect(200);
    assert_eq!(again, taken);
    let records = client.get("/v1/audit?event=alert_acknowledged").expect(200);
    assert_eq!(records["items"].as_array().unwrap().len(), 1);
    assert_eq!(records["items"][0]["alert"], alert["id"]);
    client.post(&format!("{path}/ack"), &json!({"comment": "a\u{0}b"})).refused(400, "invalid_request");
    client.post(&format!("{path}/ack"), &json!({"remark": ""})).refused(400, "invalid_request");
    client.get("/v1/alerts/x").refused(404, "not_found");
    let unknown = "/v1/alerts/00000000-0000-7000-8000-000000000000";
    client.get(unknown).refused(404, "not_found");
    client.post(&format!("{unknown}/ack"), &json!({})).refused(404, "not_found");
    client.send("DELETE", &format!("/v1/api-keys/{id}"), None, &[]).expect(204);
    in_state(&client, ("key_expiry", &subject), "cleared");
    assert_eq!(client.get("/v1/alerts?state=open").expect(200)["items"], json!([]));
    assert_eq!(client.get("/v1/alerts?state=cleared").expect(200)["items"].as_array().unwrap().len(), 1);
    client.get("/v1/alerts?state=both").refused(400, "invalid_request");
}

/// Three nodes see the same and it is one alert; two of them die and it stays, the row is edited and it is raised anew.
#[test]
fn nodes_die_and_rows_are_edited() {
    let mut cluster = Cluster::start(3, &SOON);
    let (id, subject) = ending(&cluster.client(0));
    let about = ("key_expiry", subject.as_str());
    let alert = in_state(&cluster.client(2), about, "open");
    let seen = || {
        let count = cluster.postgres.psql("SELECT count(*) FROM alert_sightings");
        (count == "3").then_some(())
    };
    process::until(LONG, seen).expect("every node sees it");
    cluster.nodes[0].kill9();
    cluster.nodes[1].kill9();
    // Somebody turns it into something harmless.
    let _done = cluster.postgres.psql("UPDATE alerts SET subject = 'nothing', severity = 'warning'");
    let client = cluster.client(2);
    let anew = || alerts(&client, "key_expiry").into_iter().find(|other| other["id"] != alert["id"]);
    let anew = process::until(LONG, anew).expect("it is raised anew");
    assert_eq!((&anew["subject"], &anew["state"]), (&json!(subject), &json!("open")));
    client.send("DELETE", &format!("/v1/api-keys/{id}"), None, &[]).expect(204);
    // The dead say nothing any more.
    in_state(&client, about, "cleared");
    assert_eq!(cluster.postgres.psql("SELECT count(*) FROM alert_sightings"), "0");
}

#[test]
fn limits_that_contradict_each_other_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let rules = r#"{"staleness": {"raise": 10}}"#;
    let (code, said) =
        claviger_tests::node::refused_start(folder.path(), &[("CLAVIGER_ALERTS__RULES", rules)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("alerts.rules") && said.contains("staleness"), "{said}");
}
