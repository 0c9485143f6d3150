//! Quotas of one node: who is limited, by what, and who is not.

use claviger_tests::{Answer, Client, Node, process};
use serde_json::json;

/// An hour is longer than any test, so that counts are exact.
const FIVE: &str = "5/h";

fn encrypt(client: &Client, key: &str) -> Answer {
    client.post(&format!("/v1/keys/{key}/encrypt"), &json!({"plaintext": "aGVsbG8="}))
}

/// Answers until one is refused; then all are.
fn until_refused(mut ask: impl FnMut() -> Answer) -> (usize, Answer) {
    for times in 0..100 {
        let answer = ask();
        if answer.status == 429 {
            assert_eq!(ask().status, 429);
            return (times, answer);
        }
        assert!(answer.status < 300, "{}", answer.text);
    }
    panic!("nobody is refused");
}

fn seconds(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

fn made(node: &Node, roles: &[&str]) -> Client {
    let made = node.client().post("/v1/api-keys", &json!({"name": "n", "roles": roles})).expect(201);
    node.client().with_token(made["secret"].as_str())
}

#[test]
fn each_principal_has_its_own_and_steering_is_never_limited() {
    let node = Node::with(&[("CLAVIGER_LIMITS__PRINCIPAL", FIVE)]);
    let admin = node.client();
    admin.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let one = made(&node, &["encrypter"]);
    let first = encrypt(&one, "k");
    assert_eq!(first.header("ratelimit-policy"), "\"principal\";q=5;w=3600");
    assert_eq!(first.header("ratelimit"), "\"principal\";r=4;t=720");
    let (times, refused) = until_refused(|| encrypt(&one, "k"));
    assert_eq!(times, 4);
    assert_eq!(refused.header("ratelimit-policy"), "\"principal\";q=5;w=3600");
    assert!(
        refused.header("ratelimit").starts_with("\"principal\";r=0;t="),
        "{}",
        refused.header("ratelimit")
    );
    assert!((600..=720).contains(&seconds(&refused)), "{}", seconds(&refused));
    refused.refused(429, "rate_limited");
    // What is not there can't be used up, and nobody else pays.
    encrypt(&made(&node, &["encrypter"]), "k").expect(200);
    // Looks, changes and revocations go on.
    one.get("/v1/keys/k").expect(200);
    let (_, _) = until_refused(|| encrypt(&admin, "k"));
    for _ in 0..10 {
        admin.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
        admin.post("/v1/tokens/revoke", &json!({"subject": "s"})).expect(200);
        assert_eq!(admin.get("/v1/keys").header("ratelimit"), "");
        assert_eq!(admin.get("/metrics").status, 200);
    }
    let text = admin.get("/metrics").text;
    assert!(text.contains("claviger_quota_refused_total{quota=\"principal\"} 4"), "{text}");
    // A flood of refusals is one record, and a count.
    (0..50).for_each(|_| _ = encrypt(&one, "k"));
    let refusals = || node.records().iter().filter(|record| record["outcome"] == "rate_limited").count();
    assert!((1..=3).contains(&refusals()), "{}", refusals());
}

#[test]
fn keys_have_theirs_whoever_asks_and_however() {
    let node = Node::with(&[("CLAVIGER_LIMITS__KEY", FIVE)]);
    let admin = node.client();
    for (name, kind) in [("k", "aes256-gcm"), ("t", "es256"), ("other", "es256")] {
        admin.post("/v1/keys", &json!({"name": name, "type": kind})).expect(201);
    }
    let one = made(&node, &["encrypter"]);
    let mut turn = 0;
    let (times, _) = until_refused(|| {
        turn += 1;
        encrypt(if turn % 2 == 0 { &admin } else { &one }, "k")
    });
    assert_eq!(times, 5);
    // Of tokens, by the key that the request or the token itself names.
    let token = admin.post("/v1/tokens", &json!({"key": "t"})).expect(201)["token"].clone();
    let verify = || admin.post("/v1/tokens/verify", &json!({"token": token}));
    assert_eq!(until_refused(verify).0, 4);
    let refused = admin.post("/v1/tokens", &json!({"key": "t"}));
    assert_eq!(refused.header("ratelimit-policy"), "\"key\";q=5;w=3600");
    refused.refused(429, "rate_limited");
    admin.post("/v1/tokens", &json!({"key": "other"})).expect(201);
    admin.post("/v1/random", &json!({"bytes": 8})).expect(200);
}

#[test]
fn addresses_have_theirs() {
    let node =
        Node::with(&[("CLAVIGER_LIMITS__ADDRESS", FIVE), ("CLAVIGER_AUTH__TRUSTED_PROXIES", "127.0.0.1")]);
    let admin = node.client();
    let from = |address: &str| {
        let body = br#"{"bytes": 8}"#.to_vec();
        admin.send("POST", "/v1/random", Some(body), &[("X-Forwarded-For", address)])
    };
    let mut host = 0;
    let (times, _) = until_refused(|| {
        host += 1;
        from(&format!("2001:db8::{host}"))
    });
    assert_eq!(times, 5, "one network of IPv6 is one client");
    from("2001:db8:0:1::1").expect(200);
    assert_eq!(until_refused(|| from("192.0.2.1")).0, 5);
    from("192.0.2.2").expect(200);
}

/// Two a second by default; whoever is right does not wait for them.
#[test]
fn failures_and_grants_are_limited_by_default() {
    let node = Node::with(&[("CLAVIGER_LIMITS__FAILURES", ""), ("CLAVIGER_LIMITS__GRANTS", "")]);
    let (admin, wrong) = (node.client(), node.client().with_token(Some("clv_wrong")));
    let failed = process::until(process::PATIENCE, || {
        let answer = wrong.get("/v1/keys");
        (answer.status != 401).then_some(answer)
    });
    let failed = failed.expect("failures faster than two a second");
    assert_eq!(failed.header("ratelimit-policy"), "\"failures\";q=10;w=5");
    assert_eq!(seconds(&failed), 1);
    failed.refused(429, "rate_limited");
    for _ in 0..20 {
        admin.get("/v1/keys").expect(200);
    }
    // A family that is refreshed all the time.
    let mut pair = admin.post("/v1/tokens", &json!({"subject": "s", "refresh": true})).expect(201);
    let refused = process::until(process::PATIENCE, || {
        let answer = admin.post("/v1/tokens/refresh", &json!({"refresh_token": pair["refresh_token"]}));
        if answer.status == 200 {
            pair = answer.json();
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("refreshes faster than two a second");
    assert_eq!(refused.header("ratelimit-policy"), "\"grants\";q=10;w=5");
    let wait = seconds(&refused);
    refused.refused(429, "rate_limited");
    // It has not spent the token, and another family is none of its concern.
    admin.post("/v1/tokens", &json!({"subject": "s", "refresh": true})).expect(201);
    process::pause(std::time::Duration::from_secs(wait));
    admin.post("/v1/tokens/refresh", &json!({"refresh_token": pair["refresh_token"]})).expect(200);
}
