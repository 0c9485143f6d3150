//! `/metrics`: what it counts, what it never says, and who may read it.

mod listener;
mod provisions;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_tests::{Client, Node, needles::Needles, node};
use serde_json::{Value, json};

use crate::access::api_key;

/// A node with an internal listener, and further environment.
fn watched(environment: &[(&str, &str)]) -> Node {
    let mut all = vec![("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0")];
    all.extend_from_slice(environment);
    Node::with(&all)
}

/// Runs promtool, which must be there and must have nothing to say.
fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is not installed; run `make tools`");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {said:?}");
}

/// Every series of a scrape that promtool finds nothing wrong with.
fn scrape(node: &Node) -> Scrape {
    let answer = node.internal().get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
    promtool(&["check", "metrics"], &answer.text);
    Scrape(answer.text)
}

struct Scrape(String);

impl Scrape {
    /// Value of a series, by its name with labels as written.
    fn value(&self, series: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Names of families.
    fn names(&self) -> BTreeSet<&str> {
        self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
    }

    /// Values of a label, by family.
    fn labels(&self, label: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut found = BTreeMap::<&str, BTreeSet<&str>>::new();
        for line in self.0.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            if let Some((_, rest)) = line.split_once(&format!("{label}=\"")) {
                found.entry(name).or_default().insert(rest.split('"').next().unwrap());
            }
        }
        found
    }
}

fn encrypt(client: &Client, key: &str, plaintext: &str) -> Value {
    let body = json!({"plaintext": STANDARD.encode(plaintext)});
    client.post(&format!("/v1/keys/{key}/encrypt"), &body).expect(200)
}

/// Counters move with what is done, and tell nothing of it but how often.
#[test]
fn counters_move_and_say_nothing_secret() {
    let node = watched(&[]);
    let client = node.client();
    let before = scrape(&node);
    client.post("/v1/keys", &json!({"name": "orders", "type": "aes256-gcm"})).expect(201);
    let mut needles = Needles::default();
    needles.add("master key", node::MASTER.as_bytes());
    needles.add("bootstrap token", node::TOKEN.as_bytes());
    needles.add("plaintext", b"a plaintext that nobody may see");
    for _ in 0..3 {
        let sealed = encrypt(&client, "orders", "a plaintext that nobody may see");
        needles.add("ciphertext", sealed["ciphertext"].as_str().unwrap().as_bytes());
    }
    let batch = json!({"batch": [{"plaintext": "aGk="}, {"plaintext": "aGk="}, {"nonsense": 1}]});
    client.post("/v1/keys/orders/encrypt", &batch).expect(200);
    let token = client.post("/v1/tokens", &json!({"subject": "somebody"})).expect(201)["token"].clone();
    let token = token.as_str().unwrap().to_owned();
    needles.add("token", token.as_bytes());
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for token in [token.as_str(), forged.as_str(), "nonsense"] {
        client.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
    }
    let secret = "a-secret-pasted-into-a-path-0123456789";
    needles.add("pasted", secret.as_bytes());
    client
        .post(&format!("/v1/keys/{secret}/encrypt"), &json!({"plaintext": "aGk="}))
        .refused(404, "key_not_found");
    assert_eq!(client.get(&format!("/{secret}")).status, 404);
    assert_eq!(client.send("BREW", &format!("/{secret}"), None, &[]).status, 404);

    let after = scrape(&node);
    let moved = |series: &str| after.value(series) - before.value(series);
    let encrypts = r#"route="/v1/keys/{name}/encrypt",method="POST""#;
    for (series, by) in [
        (format!(r#"claviger_requests_total{{{encrypts},status="2xx",code="ok"}}"#), 4.0),
        (format!(r#"claviger_requests_total{{{encrypts},status="4xx",code="key_not_found"}}"#), 1.0),
        (format!(r#"claviger_request_duration_seconds_count{{{encrypts},status="2xx"}}"#), 4.0),
        (r#"claviger_requests_total{route="none",method="none",status="4xx",code="not_found"}"#.into(), 2.0),
        (r#"claviger_operations_total{key="orders",operation="key.encrypt",outcome="ok"}"#.into(), 5.0),
        (r#"claviger_operations_total{key="orders",operation="key.encrypt",outcome="failed"}"#.into(), 1.0),
        (
            r#"claviger_operations_total{key="default-signing",operation="token.issue",outcome="ok"}"#.into(),
            1.0,
        ),
        (r#"claviger_verification_failures_total{kind="token",reason="signature_invalid"}"#.into(), 1.0),
        (r#"claviger_verification_failures_total{kind="token",reason="token_malformed"}"#.into(), 1.0),
        ("claviger_ring_change_seconds_count".into(), 1.0),
        ("claviger_keys".into(), 1.0),
        ("claviger_ring_epoch".into(), 1.0),
    ] {
        assert_eq!(moved(&series), by, "{series}");
    }
    assert_eq!(after.value("claviger_requests_in_flight"), 1.0, "the scrape itself");
    assert!(after.value("process_resident_memory_bytes") > 1e6 && after.value("process_open_fds") > 3.0);
    let drift = after.value("process_start_time_seconds") - chrono_now();
    assert!(drift.abs() < 60.0, "started {drift} s from now");
    assert_eq!(needles.found_in(after.0.as_bytes()), Vec::<&str>::new());
}

#[expect(clippy::disallowed_methods, reason = "held against what the process says of itself")]
fn chrono_now() -> f64 {
    chrono::Utc::now().timestamp_millis() as f64 / 1e3
}

/// The public listener asks for the permission, and an operator or auditor has it.
#[test]
fn the_public_listener_asks_for_the_permission() {
    let node = Node::start();
    let client = node.client();
    client.with_token(None).get("/metrics").refused(401, "unauthorized");
    let (_, verifier) = api_key(&client, &["verifier"]);
    verifier.get("/metrics").refused(403, "forbidden");
    let (_, auditor) = api_key(&client, &["auditor"]);
    assert_eq!(auditor.get("/metrics").status, 200);
}

/// However many keys there are and whatever they are called, only so many have series; the others share one.
#[test]
fn cardinality_stays_bounded_with_300_keys() {
    let node = watched(&[]);
    let client = node.client();
    for number in 0..300 {
        let name = format!("k{number}");
        client.post("/v1/keys", &json!({"name": name, "type": "hmac-sha256"})).expect(201);
        client.post(&format!("/v1/keys/{name}/hmac"), &json!({"input": "aGk="})).expect(200);
    }
    let all = scrape(&node);
    let labels = all.labels("key");
    assert!(labels.len() >= 2, "{labels:?}");
    for (family, keys) in &labels {
        assert_eq!(keys.len(), 201, "{family}");
        assert!(keys.contains("_other"), "{family}");
    }
    let done = |key: &str| {
        all.value(&format!(r#"claviger_operations_total{{key="{key}",operation="key.hmac",outcome="ok"}}"#))
    };
    assert_eq!((done("k0"), done("k199"), done("k200"), done("_other")), (1.0, 1.0, 0.0, 100.0));
    assert!(all.0.lines().count() < 1_500, "{} lines", all.0.lines().count());

    let few = watched(&[("CLAVIGER_METRICS__KEYS", "0")]);
    encrypt(&few.client(), "stores", "x");
    let few = scrape(&few);
    assert!(few.labels("key").values().all(|keys| keys.iter().eq(&["_other"])), "{:?}", few.labels("key"));
}
