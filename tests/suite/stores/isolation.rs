//! Nobody reads what is another's, by whatever path.

use claviger_tests::{Client, Node};
use serde_json::{Value, json};

use super::{ADMIN, named_key, put, raw};

/// What may be taken for `bob`.
const SPELLINGS: [&str; 54] = [
    "bob",
    "%62ob",
    "b%6Fb",
    "b%6fb",
    "%62%6f%62",
    "BOB",
    "Bob",
    "bob%20",
    "%20bob",
    "bob%09",
    "bob%00",
    "bob.",
    "bob%2e",
    "bob%2F",
    "%2Fbob",
    "alice/../bob",
    "alice/%2e%2e/bob",
    "alice/%2E%2E/bob",
    "./bob",
    "%2e/bob",
    "alice%2F..%2Fbob",
    "alice%2f%2e%2e%2fbob",
    "alice%5C..%5Cbob",
    "alice/..%2Fbob",
    "..%2Fsecrets%2Fbob",
    "%252e%252e/bob",
    "%2562ob",
    "%25%36%32ob",
    "alice;bob",
    "bob;x=1",
    "bob%3Bx",
    "bob?x",
    "bob%3Fx",
    "bob%23",
    "bob%E2%80%8B",
    "%EF%BB%BFbob",
    "b%CE%BFb",
    "%C0%AE%C0%AE/bob",
    "bo%62",
    "*",
    "%25",
    "_",
    "bob,alice",
    "alice%0Abob",
    "alice%0D%0Abob",
    "b%ob",
    "%",
    "bob%",
    "bob%2",
    "bob%zz",
    "bob+",
    "+bob",
    "//bob",
    "/bob",
];

/// P8: of an owner who is not their own a caller sees nothing, by any spelling, and can't tell whether there is anything.
#[test]
fn p8_nobody_reads_what_is_anothers() {
    let node = Node::start();
    let admin = node.client();
    for owner in ["bob", "alice"] {
        put(&admin, &format!("/v1/secrets/{owner}/key"), &json!({"value": format!("of-{owner}")}))
            .expect(201);
        put(&admin, &format!("/v1/auth-tokens/{owner}/idp"), &json!({"access_token": format!("of-{owner}")}))
            .expect(201);
        put(&admin, &format!("/v1/offline-tokens/{owner}"), &json!({"offline_token": format!("of-{owner}")}))
            .expect(201);
    }
    let (alice, secret) = named_key(&admin, "alice", &["owner"]);
    for path in ["/v1/secrets/alice/key", "/v1/auth-tokens/alice/idp", "/v1/offline-tokens/alice"] {
        assert!(alice.get(path).expect(200).to_string().contains("of-alice"));
    }
    let missing = without_id(&raw(node.address(), &secret, "GET", "/v1/secrets/nobody/key").1);
    for owner in SPELLINGS {
        for (method, path) in [
            ("GET", format!("/v1/secrets/{owner}/key")),
            ("GET", format!("/v1/secrets/{owner}/key?version=1")),
            ("GET", format!("/v1/secrets/{owner}/key/versions")),
            ("GET", format!("/v1/secrets/{owner}")),
            ("DELETE", format!("/v1/secrets/{owner}/key")),
            ("PUT", format!("/v1/secrets/{owner}/key")),
            ("GET", format!("/v1/auth-tokens/{owner}/idp")),
            ("DELETE", format!("/v1/auth-tokens/{owner}/idp")),
            ("GET", format!("/v1/offline-tokens/{owner}")),
            ("DELETE", format!("/v1/offline-tokens/{owner}")),
        ] {
            let (status, text) = raw(node.address(), &secret, method, &path);
            assert!(matches!(status, 400 | 404 | 405), "{method} {path}: {text}");
            assert!(!text.contains("of-bob"), "{method} {path}: {text}");
            if method == "GET" && path == "/v1/secrets/bob/key" {
                // As if there were nothing.
                assert_eq!(without_id(&text), missing);
            }
        }
    }
    batches_say_the_same(&alice);
    for path in ["/v1/secrets/bob/key", "/v1/auth-tokens/bob/idp", "/v1/offline-tokens/bob"] {
        assert!(admin.get(path).expect(200).to_string().contains("of-bob"), "{path}");
    }
    refusals_are_recorded_without_names(&node);
}

fn batches_say_the_same(alice: &Client) {
    // A batch says the same of each item, whoever the items are of.
    let batch = json!({"get": ["key"], "put": [{"name": "key", "value": "taken"}]});
    let done = alice.post("/v1/secrets/bob:batch", &batch).expect(200);
    assert_eq!(
        (&done["get"][0]["error"]["code"], &done["put"][0]["error"]["code"]),
        (&json!("not_found"), &json!("not_found"))
    );
    let name = json!({"user": "bob", "provider": "idp"});
    let write = json!({"user": "bob", "provider": "idp", "access_token": "taken"});
    let own = json!({"user": "alice", "provider": "idp"});
    let done = alice.post("/v1/auth-tokens:batch", &json!({"get": [name, own], "put": [write]})).expect(200);
    assert_eq!(done["get"][0]["error"]["code"], "not_found");
    assert_eq!(done["get"][1]["access_token"], "of-alice");
    assert_eq!(done["put"][0]["error"]["code"], "not_found");
}

/// Refusals are on record as such, and neither the owner nor the name of what may not exist stands in them.
fn refusals_are_recorded_without_names(node: &Node) {
    let denied: Vec<Value> =
        node.records().into_iter().filter(|record| record["event"] == "access_denied").collect();
    assert!(denied.len() > 50, "{}", denied.len());
    for mut record in denied {
        assert!(record["owner"].as_str().is_none_or(|owner| owner.starts_with("hmac-sha256:")));
        // Random letters may spell anything.
        (record["owner"], record["hash"]) = (Value::Null, Value::Null);
        let text = record.to_string().to_lowercase();
        assert!(!text.contains("bob") && !text.contains("\"key\""), "{text}");
    }
}

fn without_id(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut problem: Value = serde_json::from_str(body).unwrap();
    problem["request_id"] = Value::Null;
    problem
}

/// Owners that look alike are not one, on a file and on a server.
#[test]
fn owners_are_told_apart_byte_for_byte() {
    for node in [Node::start(), claviger_tests::Cluster::start(1, &[]).nodes.remove(0)] {
        let admin = node.client();
        let owners = [
            "Strasse",
            "stra%C3%9Fe",
            "e%CC%81",
            "%C3%A9",
            "E",
            "e",
            "e%20",
            "a%2Fb",
            "a",
            "%EF%BC%A1",
            "A",
            "x:batch",
            "a%25b",
        ];
        let node_is_gone = admin.get("/healthz").status != 200;
        assert!(!node_is_gone);
        for owner in owners {
            let made = put(&admin, &format!("/v1/secrets/{owner}/s"), &json!({"value": owner}));
            made.expect(201);
        }
        for owner in owners {
            assert_eq!(admin.get(&format!("/v1/secrets/{owner}/s")).expect(200)["value"], owner);
            let (status, text) = raw(node.address(), ADMIN, "GET", &format!("/v1/secrets/{owner}"));
            assert!(status == 200 && text.matches("\"name\"").count() == 1, "{owner}: {text}");
        }
        // What looks like a verb is an owner for every other method, and encoded for this one too.
        let batch = |owner: &str| {
            admin.post(&format!("/v1/secrets/{owner}:batch"), &json!({"get": ["s"]})).expect(200)
        };
        assert_eq!(batch("x:batch")["get"][0]["value"], "x:batch");
        assert_eq!(batch("x")["get"][0]["error"]["code"], "not_found");
    }
}

/// Bearers of tokens are owners by a policy that names their issuer.
#[test]
fn a_policy_gives_bearers_what_is_theirs() {
    let node = Node::start();
    let admin = node.client();
    let issuer =
        admin.get("/.well-known/openid-configuration").expect(200)["issuer"].as_str().unwrap().to_owned();
    let text = format!(
        "permit (principal is Claviger::Subject, action in Claviger::Action::\"storing\", resource)
         when {{ principal.issuer == \"{issuer}\" && resource.owner == principal.subject }};"
    );
    let written = admin.send("PUT", "/v1/policies/own", Some(text.into_bytes()), &[]);
    assert_eq!(written.status, 201, "{}", written.text);
    let bearer = |subject: &str| {
        let token = json!({"subject": subject, "audience": "claviger"});
        let token = admin.post("/v1/tokens", &token).expect(201)["token"].as_str().unwrap().to_owned();
        admin.with_token(Some(&token))
    };
    let (alice, bob) = (bearer("auth0|alice"), bearer("bob"));
    put(&alice, "/v1/secrets/auth0%7Calice/s", &json!({"value": "mine"})).expect(201);
    assert_eq!(alice.get("/v1/secrets/auth0%7Calice/s").expect(200)["value"], "mine");
    assert_eq!(alice.get("/v1/secrets/auth0%7Calice").expect(200)["items"][0]["name"], "s");
    bob.get("/v1/secrets/auth0%7Calice/s").refused(404, "not_found");
    bob.get("/v1/secrets/auth0%7Calice").refused(404, "not_found");
    put(&bob, "/v1/secrets/auth0%7Calice/s", &json!({"value": "x"})).refused(404, "not_found");
    alice.get("/v1/keys/stores").refused(404, "key_not_found");
    alice.post("/v1/keys/stores/encrypt", &json!({"plaintext": "aGk="})).refused(404, "key_not_found");
}

/// Who may only write does, and reads nothing; a policy may name secrets.
#[test]
fn rights_are_given_one_by_one() {
    let node = Node::start();
    let admin = node.client();
    for (name, text) in [
        (
            "writer",
            "permit (principal in Claviger::Role::\"writer\", action == Claviger::Action::\"secret.write\", resource);",
        ),
        (
            "app",
            "permit (principal in Claviger::Role::\"app\", action in Claviger::Action::\"storing\", resource)
                 when { resource.owner == \"alice\" && resource.name like \"app-*\" };",
        ),
    ] {
        assert_eq!(admin.send("PUT", &format!("/v1/policies/{name}"), Some(text.into()), &[]).status, 201);
    }
    let ((writer, _), (app, _)) = (named_key(&admin, "w", &["writer"]), named_key(&admin, "a", &["app"]));
    for name in ["app-1", "zzz", "aaa"] {
        put(&writer, &format!("/v1/secrets/alice/{name}"), &json!({"value": "v"})).expect(201);
    }
    let done = writer
        .post("/v1/secrets/alice:batch", &json!({"put": [{"name": "b", "value": "v"}], "get": ["b"]}))
        .expect(200);
    assert_eq!(
        (&done["put"][0]["version"], &done["get"][0]["error"]["code"]),
        (&json!(1), &json!("forbidden"))
    );
    writer.get("/v1/secrets/alice/app-1").refused(403, "forbidden");
    writer.get("/v1/secrets/alice").refused(403, "forbidden");
    assert_eq!(app.get("/v1/secrets/alice/app-1").expect(200)["value"], "v");
    app.get("/v1/secrets/alice/zzz").refused(404, "not_found");
    let names: Vec<Value> = app.get("/v1/secrets/alice").expect(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].clone())
        .collect();
    assert_eq!(names, ["app-1"]);
    app.get("/v1/secrets/bob").refused(404, "not_found");
}
