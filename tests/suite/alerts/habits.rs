//! Keys that are used as they never were.

use std::time::Duration;

use claviger_tests::{Client, Cluster, process};
use serde_json::{Value, json};

use super::{Ears, in_state, quick, receivers::Receivers};

/// Three nodes that know the key `vault` as one that a single principal uses from a single network.
struct Known {
    cluster: Cluster,
    receivers: Receivers,
    ears: Ears,
    usual: Value,
    sealed: Value,
}

impl Known {
    fn start() -> Self {
        let mut quick = quick();
        let rules = json!({"unusual_rate": {"calm": "1s"}, "decrypt_storm": {"calm": "1s"}}).to_string();
        let receivers = Receivers::start();
        quick.retain(|(name, _)| *name != "CLAVIGER_ALERTS__RULES");
        quick.push(("CLAVIGER_ALERTS__RULES", rules));
        quick.push(("CLAVIGER_ALERTS__LEARNING", "2s".to_owned()));
        quick.push(("CLAVIGER_AUTH__TRUSTED_PROXIES", "127.0.0.0/8".to_owned()));
        quick.push(("CLAVIGER_CHANNELS", receivers.channels()));
        let environment: Vec<(&str, &str)> =
            quick.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let cluster = Cluster::start(3, &environment);
        let ears = Ears::of(&cluster.nodes);
        let admin = cluster.client(0);
        admin.post("/v1/keys", &json!({"name": "vault", "type": "aes256-gcm"})).expect(201);
        let (_, usual) = holder(&admin, "usual");
        let mut known = Self { cluster, receivers, ears, usual, sealed: Value::Null };
        known.sealed = known.encrypt(0, &known.usual, "192.0.2.1");
        for node in 1..3 {
            known.encrypt(node, &known.usual, "192.0.2.1");
        }
        // Meanwhile each node gets to know the key.
        process::pause(Duration::from_secs(3));
        known
    }

    fn client(&self, node: usize, secret: &Value) -> Client {
        self.cluster.client(node).with_token(secret.as_str())
    }

    /// On a node, as somebody, from somewhere. Answers with the ciphertext.
    fn encrypt(&self, node: usize, secret: &Value, address: &str) -> Value {
        let body = json!({"plaintext": "aGk="}).to_string().into_bytes();
        let headers = [("x-forwarded-for", address)];
        let client = self.client(node, secret);
        let sealed = client.send("POST", "/v1/keys/vault/encrypt", Some(body), &headers).expect(200);
        sealed["ciphertext"].clone()
    }

    /// It is raised, told and over once in the cluster, so often by now. Answers with what was said when it began.
    #[track_caller]
    fn told(&mut self, rule: &str, times: usize) -> Value {
        let about = (rule, "vault");
        let raised = in_state(&self.cluster.client(1), about, "open");
        self.ears.heard("alert.raised", about, times);
        self.over(&raised, times);
        raised
    }

    #[track_caller]
    fn over(&mut self, raised: &Value, times: usize) {
        let about = (raised["rule"].as_str().unwrap(), "vault");
        let is_over = || {
            let now = self.cluster.client(2).get("/v1/alerts?state=cleared").expect(200);
            let items = now["items"].as_array().unwrap().clone();
            items.into_iter().find(|alert| alert["id"] == raised["id"])
        };
        let cleared = process::until(super::LONG, is_over).expect("it is over");
        self.ears.heard("alert.cleared", about, times);
        self.ears.heard("alert.raised", about, times);
        self.receivers.got(&cleared);
    }
}

/// An API key that may encrypt and decrypt: its id and its secret.
fn holder(admin: &Client, name: &str) -> (String, Value) {
    let made = admin.post("/v1/api-keys", &json!({"name": name, "roles": ["encrypter"]})).expect(201);
    (made["id"].as_str().unwrap().replace('-', ""), made["secret"].clone())
}

/// A stranger, another network, and a storm of decryptions that is ten times the usual use too: whatever node they come to, each is told once in
/// the cluster, over every channel, and so is its end.
#[test]
fn what_is_unusual_is_told() {
    let mut known = Known::start();
    let (stranger_id, stranger) = holder(&known.cluster.client(0), "stranger");
    let usual = known.usual.clone();
    // From where the key is used every day, but by somebody else.
    for node in 0..3 {
        known.encrypt(node, &stranger, "192.0.2.77");
    }
    let raised = known.told("unusual_use", 1);
    let summary = raised["summary"].as_str().unwrap();
    assert!(summary.contains(&stranger_id) && !summary.contains("the network"), "{summary}");
    // And by whom it is used every day, but from elsewhere.
    for node in 0..3 {
        known.encrypt(node, &usual, "198.51.100.7");
    }
    let raised = known.told("unusual_use", 2);
    let summary = raised["summary"].as_str().unwrap();
    assert!(summary.contains("198.51.100.0/24") && !summary.contains("the principal"), "{summary}");
    let batch: Vec<Value> = (0..1_000).map(|_| json!({"ciphertext": known.sealed})).collect();
    for round in 0..9 {
        let body = json!({ "batch": batch }).to_string().into_bytes();
        let headers = [("x-forwarded-for", "192.0.2.1")];
        let client = known.client(round % 3, &usual);
        client.send("POST", "/v1/keys/vault/decrypt", Some(body), &headers).expect(200);
    }
    let rate = in_state(&known.cluster.client(1), ("unusual_rate", "vault"), "open");
    let storm = known.told("decrypt_storm", 1);
    assert_eq!((&storm["severity"], &rate["severity"]), (&json!("critical"), &json!("warning")));
    known.over(&rate, 1);
    let client = known.cluster.client(0);
    reported(&client, (&stranger_id, &storm));
    // Nobody has told of anything else, and nobody twice.
    let all = client.get("/v1/alerts?limit=1000").expect(200)["items"].as_array().unwrap().clone();
    assert_eq!(all.len(), 4, "{all:?}");
    for event in ["alert_raised", "alert_cleared"] {
        let found = client.get(&format!("/v1/audit?event={event}&limit=1000")).expect(200);
        assert_eq!(found["items"].as_array().unwrap().len(), 4, "{event}");
    }
}

/// Whoever opens an incident sees what was told of the key, or of who used it, and who has taken that up; so does an auditor.
fn reported(client: &Client, (stranger, storm): (&str, &Value)) {
    let path = format!("/v1/alerts/{}/ack", storm["id"].as_str().unwrap());
    client.post(&path, &json!({"comment": "a job of ours"})).expect(200);
    let since = (super::now() - chrono::TimeDelta::hours(1)).to_rfc3339();
    let alerts_of = |target: Value| {
        let mut body = json!({"reason": "drill", "level": "low", "since": since});
        body.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
        client.post("/v1/incidents", &body).expect(201)["report"]["alerts"].as_array().unwrap().clone()
    };
    let rules = |alerts: &[Value]| {
        let mut rules: Vec<String> =
            alerts.iter().map(|alert| alert["rule"].as_str().unwrap().to_owned()).collect();
        rules.sort();
        rules
    };
    let of_key = alerts_of(json!({"key": "vault"}));
    assert_eq!(rules(&of_key), ["decrypt_storm", "unusual_rate", "unusual_use", "unusual_use"]);
    let taken = of_key.iter().find(|alert| alert["id"] == storm["id"]).unwrap();
    assert_eq!(
        (&taken["acknowledged_by"], &taken["comment"]),
        (&json!("bootstrap-admin"), &json!("a job of ours"))
    );
    assert!(taken["acknowledged_at"].is_string() && taken["cleared_at"].is_string(), "{taken}");
    assert_eq!(rules(&alerts_of(json!({"principal": stranger}))), ["unusual_use"]);
    assert!(alerts_of(json!({"node": "node-1"})).is_empty());
    let report = client.get("/v1/report").expect(200);
    assert_eq!(rules(report["alerts"].as_array().unwrap()), rules(&of_key));
}
