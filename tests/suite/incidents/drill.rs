//! A key is compromised on three nodes under load.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use claviger_crypto::foreign::{self, ForeignToken};
use claviger_tests::{Client, Node, Postgres, Redis, cluster, cluster::at_once, process};
use serde_json::{Map, Value, json};

use super::{opened, step, verified};
use crate::cluster::redis::status;

/// Five times what is promised: the machine is busy.
const ISOLATED: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(25);

/// A client elsewhere that has fetched the keys ten minutes ago, and verifies by nothing else.
struct Offline(Map<String, Value>);

impl Offline {
    fn fetch(client: &Client) -> Self {
        let Value::Object(set) = client.get("/.well-known/jwks.json").expect(200) else { unreachable!() };
        Self(set)
    }

    fn accepts(&self, token: &str) -> bool {
        let keys = foreign::key_set(&self.0).unwrap();
        let token = ForeignToken::parse(token).unwrap();
        let key = keys.into_iter().find(|key| key.kid == token.kid());
        key.is_some_and(|key| token.verify(&key.public).is_ok())
    }

    fn knows(&self, kid: &Value) -> bool {
        self.0["keys"].as_array().unwrap().iter().any(|key| key["kid"] == *kid)
    }
}

/// What clients of other keys, and of this one, see all the while.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    done: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn run(&self, client: &Client) {
        while !self.stop.load(Ordering::Relaxed) {
            let token = client.post("/v1/tokens", &json!({"key": "other", "subject": "s"}));
            let fine = token.status == 201
                && verified(client, &token.json()["token"])["valid"] == true
                // Tokens of the key itself are made all the while, by whichever version may.
                && client.post("/v1/tokens", &json!({"key": "leaked", "subject": "s"})).status == 201;
            if !fine {
                self.failures.lock().unwrap().push(token.text);
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// P4: from the call to the last node that refuses the key less than a second; nobody else notices, and clients with old keys accept what is new.
#[test]
fn p4_a_compromise_drill() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (url, hints) = (postgres.url(), redis.url());
    let nodes = at_once(3, |index| cluster::node(&url, index, &[("CLAVIGER_REDIS__URL", hints.as_str())]));
    for node in &nodes {
        status(node, "connected");
    }
    let clients: Vec<Client> = nodes.iter().map(Node::client).collect();
    for name in ["leaked", "other"] {
        clients[0].post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
    }
    let issue = |key: &str| {
        clients[1].post("/v1/tokens", &json!({"key": key, "subject": "s", "refresh": true})).expect(201)
    };
    let (leaked, other) = (issue("leaked"), issue("other"));
    let offline: Vec<Offline> = clients.iter().map(Offline::fetch).collect();
    for client in &clients {
        assert_eq!(verified(client, &leaked["token"])["valid"], true);
    }
    let load = Load::default();
    let (incident, isolated, whole) = thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| load.run(client));
        }
        let loaded = || (load.done.load(Ordering::Relaxed) > 30).then_some(());
        process::until(super::LONG, loaded).unwrap();
        let (began, leaked) = (Instant::now(), &leaked);
        let watching: Vec<_> = clients
            .iter()
            .map(|client| {
                scope.spawn(move || {
                    let refused = || (verified(client, &leaked["token"])["valid"] == false).then_some(());
                    process::until(super::LONG, refused).expect("it is refused");
                    began.elapsed()
                })
            })
            .collect();
        let incident = opened(&clients[0], &json!({"key": "leaked", "reason": "drill"}));
        let whole = began.elapsed();
        let isolated = watching.into_iter().map(|watching| watching.join().unwrap()).max().unwrap();
        load.stop.store(true, Ordering::Relaxed);
        (incident, isolated, whole)
    });
    assert!(isolated < ISOLATED && whole < WHOLE, "{isolated:?} {whole:?}");
    assert_eq!(*load.failures.lock().unwrap(), Vec::<String>::new());
    assert_eq!(incident["state"], "done", "{incident}");
    assert_eq!(step(&incident, "spread")["outcome"]["acknowledged_by"].as_array().unwrap().len(), 3);
    for (client, offline) in clients.iter().zip(&offline) {
        // The key's version is in no key set any more, and what is new is known to whoever has the old set.
        let now = Offline::fetch(client);
        assert!(!now.knows(&leaked["kid"]) && now.knows(&other["kid"]) && offline.knows(&leaked["kid"]));
        for _ in 0..20 {
            let token = client.post("/v1/tokens", &json!({"key": "leaked", "subject": "s"})).expect(201);
            assert!(offline.accepts(token["token"].as_str().unwrap()), "{token}");
            assert_ne!(token["kid"], leaked["kid"]);
        }
        assert_eq!(verified(client, &other["token"])["valid"], true);
        let refresh = |pair: &Value| {
            client.post("/v1/tokens/refresh", &json!({"refresh_token": pair["refresh_token"]}))
        };
        refresh(&leaked).refused(401, "token_revoked");
    }
    let body = json!({"refresh_token": other["refresh_token"]});
    clients[2].post("/v1/tokens/refresh", &body).expect(200);
    reported(&incident);
}

/// Who used the key, when, from where, on every node; and what to do.
fn reported(incident: &Value) {
    let report = &incident["report"];
    assert_eq!((&report["complete"], &report["missing"]), (&json!(true), &json!([])), "{report}");
    let nodes: BTreeMap<&str, &Value> = report["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["node"].as_str().unwrap(), &node["uses"]))
        .collect();
    assert_eq!(nodes.keys().copied().collect::<Vec<_>>(), ["node-0", "node-1", "node-2"]);
    for (node, uses) in nodes {
        let issued = uses.as_array().unwrap().iter().find(|line| line["operation"] == "token.issue");
        let issued = issued.unwrap_or_else(|| panic!("{node}: {uses}"));
        assert_eq!((&issued["actor"], &issued["address"]), (&json!("bootstrap-admin"), &json!("127.0.0.1")));
        assert!(issued["count"].as_u64().unwrap() > 1 && issued["first"] != issued["last"], "{issued}");
    }
    let events = report["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["event"] == "key_state_changed"), "{report}");
    assert!(report["prevention"].as_array().unwrap().len() >= 4);
}

/// One key with 100,000 live refresh tokens: one row ends them all.
#[test]
fn p10_a_key_with_very_many_tokens_is_dealt_with_at_once() {
    const TOKENS: u64 = 100_000;
    let cluster = claviger_tests::Cluster::start(2, &[]);
    let client = cluster.client(0);
    client.post("/v1/keys", &json!({"name": "leaked", "type": "es256"})).expect(201);
    let pair =
        || client.post("/v1/tokens", &json!({"key": "leaked", "subject": "s", "refresh": true})).expect(201);
    let pairs: Vec<Value> = (0..20).map(|_| pair()).collect();
    let many = format!(
        "INSERT INTO refresh_tokens (id, family, key_id, token_hash, issued_at, expires_at, ends_at, dek_id, sealed, mac) \
         SELECT gen_random_uuid()::text, gen_random_uuid()::text, key_id, token_hash, issued_at, expires_at, ends_at, dek_id, sealed, mac \
         FROM (SELECT * FROM refresh_tokens LIMIT 1) AS one, generate_series(1, {})",
        TOKENS - 20
    );
    let _inserted = cluster.postgres.psql(&many);
    let dry = client.post("/v1/incidents", &json!({"key": "leaked", "reason": "drill", "dry_run": true}));
    assert_eq!(dry.expect(200)["blast_radius"]["refresh_tokens"], TOKENS);
    let began = Instant::now();
    let incident = opened(&client, &json!({"key": "leaked", "reason": "drill"}));
    let whole = began.elapsed();
    assert!(whole < WHOLE, "{whole:?}");
    assert_eq!(incident["state"], "done", "{incident}");
    assert_eq!(step(&incident, "revoke_families")["outcome"]["refresh_tokens"], TOKENS);
    for (index, pair) in pairs.iter().enumerate() {
        let client = cluster.client(index % 2);
        let refused = || {
            let body = json!({"refresh_token": pair["refresh_token"]});
            (client.post("/v1/tokens/refresh", &body).status == 401).then_some(())
        };
        process::until(super::LONG, refused).unwrap();
        assert_eq!(verified(&client, &pair["token"])["valid"], false);
    }
    assert_eq!(cluster.postgres.psql("SELECT count(*) FROM revocations").trim(), "2");
}
