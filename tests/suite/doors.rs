//! The doors: who may pass, and what every answer carries.

use claviger_tests::Node;
use serde_json::json;

const PUBLIC: [&str; 6] = [
    "/healthz",
    "/readyz",
    "/health",
    "/openapi.json",
    "/.well-known/jwks.json",
    "/.well-known/openid-configuration",
];

/// P8: every route but the public ones refuses an anonymous caller, a wrong token, and a right one in the wrong case.
#[test]
fn p8_every_route_is_closed_unless_it_is_public() {
    let node = Node::start();
    let client = node.client().with_token(None);
    let document = client.get("/openapi.json").expect(200);
    let mut closed = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let real = path.replace("{name}", "default-signing").replace("{version}", "1");
            if path == "/v1/ws" || path.starts_with("/sockets/") {
                // Whom a session lets in is judged within it; this asks for none.
                client.get(&real).refused(400, "invalid_request");
                continue;
            }
            if PUBLIC.contains(&path.as_str()) {
                assert_eq!(client.get(&real).status, 200, "{path}");
                continue;
            }
            closed += 1;
            let shouted = claviger_tests::node::TOKEN.to_uppercase();
            for token in [None, Some("wrong"), Some(""), Some(shouted.as_str())] {
                let client = client.with_token(token);
                let answer = client.send(&method.to_uppercase(), &real, Some(b"{}".to_vec()), &[]);
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
                answer.refused(401, "unauthorized");
            }
        }
    }
    assert!(closed > 20, "{closed}");
    let basic = client.send("GET", "/v1/keys", None, &[("Authorization", "Basic YTpi")]);
    basic.refused(401, "unauthorized");
}

#[test]
fn every_answer_has_its_headers() {
    let node = Node::start();
    let client = node.client();
    for answer in [
        client.get("/healthz"),
        client.get("/v1/keys"),
        client.get("/nowhere"),
        client.with_token(None).get("/v1/keys"),
    ] {
        assert!(!answer.header("x-request-id").is_empty());
        assert!(answer.header("x-claviger-epoch").parse::<u64>().unwrap() > 1 << 32);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let mine = client.send("GET", "/v1/keys/none", None, &[("X-Request-Id", "my-id.7")]);
    assert_eq!(mine.header("x-request-id"), "my-id.7");
    assert_eq!(mine.refused(404, "key_not_found")["request_id"], "my-id.7");
    let evil = client.send("GET", "/healthz", None, &[("X-Request-Id", "a b\"}")]);
    assert_ne!(evil.header("x-request-id"), "a b\"}");
    assert!(node.records().iter().any(|record| {
        record["request_id"] == "my-id.7"
            && record["outcome"] == "key_not_found"
            && record["operation"] == "key.read"
    }));
}

#[test]
fn paths_and_methods_that_are_not_there() {
    let node = Node::start();
    let client = node.client();
    client.get("/v1/nothing").refused(404, "not_found");
    let wrong = client.send("PUT", "/v1/keys", None, &[]);
    assert_eq!(wrong.header("allow"), "POST, GET");
    wrong.refused(405, "invalid_request");
    for name in
        ["~token-hash", "%7Etoken-hash", "..%2F", "%2e%2e%2f", "default-signing%00", "DEFAULT-SIGNING"]
    {
        client.get(&format!("/v1/keys/{name}")).refused(404, "key_not_found");
    }
    let listed = client.get("/v1/keys").text;
    assert!(!listed.contains("token-hash"));
}

#[test]
fn epochs_that_are_not_reached_yet() {
    let node = Node::start();
    let client = node.client();
    let epoch: u64 = client.get("/healthz").header("x-claviger-epoch").parse().unwrap();
    let at = |epoch: &str| client.send("GET", "/v1/keys", None, &[("X-Claviger-Min-Epoch", epoch)]);
    at(&epoch.to_string()).expect(200);
    at(&(epoch + 1).to_string()).refused(412, "stale_epoch");
    at("soon").refused(400, "invalid_request");
}

#[test]
fn bodies_have_limits() {
    let node = Node::start();
    let client = node.client();
    let post = |body: Vec<u8>| client.send("POST", "/v1/random", Some(body), &[]);
    post(vec![b' '; (2 << 20) + 1]).refused(413, "payload_too_large");
    post(vec![b'['; 1 << 20]).refused(400, "invalid_request");
    post(br#"{"bytes":1,"bytes":2}"#.to_vec()).refused(400, "invalid_request");
    post(br#"{"bytes":1} x"#.to_vec()).refused(400, "invalid_request");
    post(b"\xff".to_vec()).refused(400, "invalid_request");
    let typed = client.send(
        "POST",
        "/v1/random",
        Some(br#"{"bytes":1}"#.to_vec()),
        &[("Content-Type", "text/plain")],
    );
    typed.expect(200);
}

#[test]
fn health_tells_the_state_and_nothing_else() {
    let node = Node::start();
    let client = node.client().with_token(None);
    let health = client.get("/health").expect(200);
    assert_eq!(
        (&health["status"], &health["dependencies"]["database"]["status"]),
        (&json!("healthy"), &json!("healthy"))
    );
    assert!(health["timestamp"].is_string() && health["version"].is_string());
    assert_eq!(client.get("/readyz").status, 200);
}

/// P6, first form: what can't be recorded is not answered, but a key can still be stopped.
#[test]
fn without_an_audit_log_nothing_is_used_and_everything_can_be_revoked() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let folder = node.folder().join("data/audit");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, b"").unwrap();
    client.post("/v1/tokens", &json!({"key": "k"})).refused(503, "audit_unavailable");
    client.post("/v1/keys/k/versions/1/suspend", &json!({"reason": "drill"})).expect(200);
    assert_eq!(client.get("/.well-known/jwks.json").status, 200);
    std::fs::remove_file(&folder).unwrap();
    client.post("/v1/tokens", &json!({"key": "k"})).expect(201);
}
