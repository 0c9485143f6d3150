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
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        for absent in ["server", "strict-transport-security", "access-control-allow-origin", "vary"] {
            assert!(answer.header(absent).is_empty(), "{absent}");
        }
        assert!(!answer.header("content-type").contains("html"));
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

/// A page may call where its origin is named, and learns nothing where it is not.
#[test]
fn pages_of_other_origins_are_let_in_by_name() {
    let console = "https://console.example";
    let preflight = |node: &Node, path: &str, origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization"),
        ];
        node.client().with_token(None).send("OPTIONS", path, None, &headers)
    };
    let node = Node::with(&[("CLAVIGER_HTTP__CORS_ORIGINS", console)]);
    for path in ["/v1/keys", "/nowhere"] {
        let let_in = preflight(&node, path, console);
        assert_eq!(let_in.status, 204);
        assert_eq!(let_in.header("access-control-allow-origin"), console);
        assert!(let_in.header("access-control-allow-headers").contains("authorization"));
        assert_eq!(let_in.header("vary"), "Origin");
        for origin in
            ["https://evil.example", "https://console.example.evil.example", "null", "http://localhost:5173"]
        {
            let refused = preflight(&node, path, origin);
            assert!(refused.header("access-control-allow-origin").is_empty(), "{origin}");
            assert!(refused.header("access-control-allow-methods").is_empty(), "{origin}");
            refused.refused(403, "forbidden");
        }
    }
    // An answer is marked whatever it says, and a page of another origin can't read it.
    let client = node.client();
    for path in ["/v1/keys", "/v1/keys/none", "/nowhere"] {
        let read = client.send("GET", path, None, &[("Origin", console)]);
        assert_eq!(read.header("access-control-allow-origin"), console, "{path}");
        assert!(read.header("access-control-expose-headers").contains("x-request-id"));
        for answer in
            [client.send("GET", path, None, &[("Origin", "https://evil.example")]), client.get(path)]
        {
            assert!(answer.header("access-control-allow-origin").is_empty(), "{path}");
            assert_eq!(answer.header("vary"), "Origin", "{path}");
        }
    }
    let set = client.send("GET", "/.well-known/jwks.json", None, &[("Origin", "https://evil.example")]);
    assert_eq!(set.header("access-control-allow-origin"), "*");

    // Nobody is named: closed to all of them.
    preflight(&Node::start(), "/v1/keys", console).refused(403, "forbidden");
    // While somebody develops, pages of their machine may call.
    let node = Node::with(&[("CLAVIGER_SERVER__DEVELOPMENT", "true")]);
    assert_eq!(preflight(&node, "/v1/keys", "http://localhost:5173").status, 204);
    preflight(&node, "/v1/keys", console).refused(403, "forbidden");
}

/// Credentials don't cross a network in clear unless somebody has said so.
#[test]
fn other_machines_are_not_served_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) =
        claviger_tests::node::refused_start(folder.path(), &[("CLAVIGER_SERVER__LISTEN", "0.0.0.0:0")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("server.listen") && said.contains("server.plain_http"), "{said}");
    let node =
        Node::with(&[("CLAVIGER_SERVER__LISTEN", "0.0.0.0:0"), ("CLAVIGER_SERVER__PLAIN_HTTP", "true")]);
    let port = node.address().rsplit(':').next().unwrap().to_owned();
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
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
