//! Changes of every node, as any node tells them.

use std::{collections::BTreeSet, time::Duration};

use chrono::DateTime;
use claviger_tests::{Client, Cluster, Node, Postgres, process};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::tampered;

/// All events that a query finds, page by page.
fn all(client: &Client, query: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/audit?limit={limit}&{query}{cursor}")).expect(200);
        let page_items = page["items"].as_array().unwrap();
        assert!(page_items.len() <= limit, "{page}");
        items.extend(page_items.iter().cloned());
        match page["next_cursor"].as_str() {
            None => return items,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

fn told(events: &[Value], member: &str) -> Vec<String> {
    events.iter().map(|event| event[member].as_str().unwrap_or_default().to_owned()).collect()
}

/// P6: a change's record is in its transaction, and every node tells it, whoever has made the change.
#[test]
fn p6_a_change_on_any_node_is_told_by_all() {
    let cluster = Cluster::start(2, &[]);
    let [a, b] = [0, 1].map(|node| cluster.client(node));
    a.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let force = json!({"force": true, "reason": "drill"});
    b.post("/v1/keys/k/rotate", &force).expect(200);
    a.post("/v1/keys/k/versions/1/suspend", &json!({"reason": "drill"})).expect(200);
    b.post("/v1/keys", &json!({"name": "other", "type": "hs256"})).expect(201);
    let made = a.post("/v1/api-keys", &json!({"name": "rotator", "roles": ["operator"]})).expect(201);
    let rotator = b.with_token(made["secret"].as_str());
    let body = force.to_string().into_bytes();
    let rotated = rotator.send("POST", "/v1/keys/k/rotate", Some(body), &[("X-Request-Id", "by-rotator")]);
    let epoch = rotated.header("x-claviger-epoch").to_owned();
    rotated.expect(200);
    let text = json!({"policy": "forbid (principal, action == Claviger::Action::\"key.export\", resource);"});
    assert_eq!(b.send("PUT", "/v1/policies/p", Some(text.to_string().into_bytes()), &[]).status, 201);

    let everything = all(&a, "", 1_000);
    assert_eq!(everything, all(&b, "", 1_000));
    let of_k = all(&b, "key=k", 100);
    assert_eq!(told(&of_k, "event"), ["key_rotated", "key_state_changed", "key_rotated", "key_created"]);
    assert_eq!(told(&of_k, "node"), ["node-1", "node-0", "node-1", "node-0"]);
    let last = &of_k[0];
    assert_eq!((&last["actor"], &last["request_id"]), (&json!("rotator"), &json!("by-rotator")));
    assert_eq!((&last["outcome"], &last["operation"]), (&json!("ok"), &json!("key.rotated")));
    assert_eq!((last["epoch"].to_string(), &last["version"]), (epoch, &json!(3)));

    assert_eq!(told(&all(&a, "event=policy_changed", 100), "policy"), ["p"]);
    assert_eq!(told(&all(&a, "event=api_key_created&actor=bootstrap-admin", 100), "name"), ["rotator"]);
    let by_name = all(&a, "actor=rotator", 100);
    assert_eq!(by_name, all(&a, &format!("actor={}", made["id"].as_str().unwrap()), 100));
    assert_eq!(told(&by_name, "event"), ["key_rotated"]);
    assert_eq!(all(&a, "key=k&event=key_rotated", 100).len(), 2);
    assert!(all(&a, "outcome=forbidden&key=k", 100).is_empty());

    // In small pages it is the same, and a span of time is one of the whole.
    for limit in [1, 3, 7] {
        assert_eq!(everything, all(&b, "", limit), "{limit}");
    }
    let since = of_k[1]["ts"].as_str().unwrap();
    let later = all(&a, &format!("since={since}"), 100);
    let earlier = all(&a, &format!("until={since}"), 100);
    assert_eq!([later.clone(), earlier].concat(), everything);
    assert!(later.contains(&of_k[1]) && !later.contains(&of_k[3]));
    let times = told(&everything, "ts");
    let times: Vec<_> = times.iter().map(|time| DateTime::parse_from_rfc3339(time).unwrap()).collect();
    assert!(times.iter().rev().is_sorted(), "{times:?}");

    for query in ["limit=0", "limit=1001", "cursor=x", "since=yesterday", "nonsense=1", "key=%00"] {
        a.get(&format!("/v1/audit?{query}")).refused(400, "invalid_request");
    }
}

/// What the schedule does is on record like everything else, and once.
#[test]
fn a_scheduled_rotation_is_told() {
    let node = Node::start();
    let client = node.client();
    let rotation = json!({"every": "10s", "lead": "5s"});
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm", "rotation": rotation})).expect(201);
    let rotated = || {
        let found = all(&client, "key=k&event=key_rotated", 100);
        (!found.is_empty()).then_some(found)
    };
    let found = process::until(Duration::from_secs(60), rotated).expect("it rotates");
    assert_eq!((found.len(), &found[0]["actor"]), (1, &json!("system")));
    assert_eq!((&found[0]["request_id"], &found[0]["version"]), (&json!("schedule"), &json!(2)));
}

/// The keys that vouch for the logs are made with the deployment, are the same everywhere, and sign no token.
#[test]
fn audit_keys_are_shown_and_are_no_one_elses() {
    let cluster = Cluster::start(2, &[]);
    let [a, b] = [0, 1].map(|node| cluster.client(node));
    let shown = a.get("/v1/audit/keys").expect(200);
    assert_eq!(shown, b.get("/v1/audit/keys").expect(200));
    let keys = shown["keys"].as_array().unwrap();
    let states: Vec<&Value> = keys.iter().map(|key| &key["state"]).collect();
    assert_eq!(states, [&json!("pre_activation"), &json!("active")]);
    for key in keys {
        assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")), "{key}");
        assert!(key["x"].is_string() && key["kid"].is_string() && key.get("d").is_none(), "{key}");
    }
    let tokens = a.get("/.well-known/jwks.json").expect(200);
    let tokens: BTreeSet<String> =
        tokens["keys"].as_array().unwrap().iter().map(|key| key["kid"].to_string()).collect();
    assert!(keys.iter().all(|key| !tokens.contains(&key["kid"].to_string())));
    // It is rotated each year by the schedule and is otherwise nobody's.
    a.get("/v1/keys/~audit").refused(404, "key_not_found");
    let period = "SELECT rotation FROM keys WHERE name = '~audit'";
    assert!(cluster.postgres.psql(period).contains("365d"), "{}", cluster.postgres.psql(period));
    assert!(!a.get("/v1/keys").text.contains("~"));
}

/// The hash that stands for a value is keyed, and the same on all nodes of a deployment.
#[test]
fn a_value_has_one_hash_in_a_deployment() {
    let cluster = Cluster::start(2, &[]);
    let hash = |client: &Client, value: &str| {
        let answer = client.post("/v1/audit/hash", &json!({"value": value})).expect(200);
        answer["hash"].as_str().unwrap().to_owned()
    };
    let [a, b] = [0, 1].map(|node| cluster.client(node));
    let one = hash(&a, "somebody@example.org");
    assert_eq!(one.strip_prefix("hmac-sha256:").map(str::len), Some(43), "{one}");
    assert_eq!(one, hash(&b, "somebody@example.org"));
    assert_ne!(one, hash(&a, "somebody else"));
    assert_ne!(one, hash(&Node::start().client(), "somebody@example.org"));
    a.post("/v1/audit/hash", &json!({"value": 1})).refused(400, "invalid_request");
    a.with_token(None).post("/v1/audit/hash", &json!({"value": "x"})).refused(401, "unauthorized");
}

/// A database of the release before gets the tables and the key, and goes on.
#[test]
fn a_database_from_before_is_brought_up_to_date() {
    const BEFORE: &str = "DROP TABLE audit_events; DROP TABLE audit_chains; \
                          DELETE FROM seaql_migrations WHERE version = 'm20261125_000004_audit';";
    const NO_KEY: &str = "DELETE FROM key_versions WHERE key_id = (SELECT id FROM keys WHERE name = '~audit'); \
                          DELETE FROM keys WHERE name = '~audit';";
    let goes_on = |node: &Node| {
        let client = node.client();
        let before = all(&client, "", 100).len();
        client.post("/v1/keys", &json!({"name": "later", "type": "hs256"})).expect(201);
        assert_eq!(all(&client, "", 100).len(), before + 1);
        assert_eq!(client.get("/v1/audit/keys").expect(200)["keys"].as_array().unwrap().len(), 2);
        client.get("/v1/keys/earlier").expect(200);
    };
    let mut node = Node::start();
    node.client().post("/v1/keys", &json!({"name": "earlier", "type": "hs256"})).expect(201);
    node.kill9();
    tampered::run(async {
        let database = tampered::open(&node.database()).await;
        database.execute_unprepared(&format!("{BEFORE}{NO_KEY}")).await.unwrap();
    });
    node.restart();
    goes_on(&node);

    let postgres = Postgres::start();
    let url = postgres.url();
    let mut node = claviger_tests::cluster::node(&url, 0, &[]);
    node.client().post("/v1/keys", &json!({"name": "earlier", "type": "hs256"})).expect(201);
    node.kill9();
    let _done = postgres.psql(&format!("{BEFORE}{NO_KEY}"));
    node.restart();
    goes_on(&node);
    let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'audit_events'";
    assert_eq!(postgres.psql(indexes).trim(), "5");
}
