//! Rotation of the master: who must have it, what it moves, and what is left of it when nodes die in the middle.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use claviger_actors::{
    clock::{Clock as _, SystemClock},
    seal::{Binding, MasterKeys},
    store::{Database, Place, Pool},
};
use claviger_tests::{
    Answer, Client, Node, Postgres,
    cluster::{at_once, settled_node},
    node::{self, MASTER},
    process::{self, PATIENCE, until},
    seed,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::tampered::run;

const NEW: &str = "new-master-9876543210-zyxwvutsrqponmlkjihg";
const KEY: &str = "CLAVIGER_SEAL__MASTER_KEY";
const STALENESS: (&str, &str) = ("CLAVIGER_CLUSTER__MAX_STALENESS", "3s");
const NODES: usize = 3;

fn both() -> String {
    format!("{NEW}\n{MASTER}")
}

fn place(url: &str) -> Place<'_> {
    let pool = Pool {
        min: 1,
        max: 2,
        acquire_timeout: Duration::from_secs(10),
        max_lifetime: Duration::from_secs(60),
    };
    Place::Server { url, migration_url: None, pool }
}

fn rotate(client: &Client) -> Answer {
    client.send("POST", "/v1/seal/rotate", None, &[])
}

fn is_done(client: &Client) -> Option<Value> {
    let answer = client.try_send("GET", "/v1/seal", None, &[])?;
    let status = if answer.status == 200 { answer.json() } else { return None };
    (status["rekey"]["state"] == "done").then_some(status)
}

fn done(client: &Client) -> Value {
    until(PATIENCE, || is_done(client)).unwrap_or_else(|| panic!("{}", client.get("/v1/seal").text))
}

/// Everything that is sealed as material opens under a master; answers with how much that is.
fn opened(url: &str, master: &str) -> usize {
    run(async {
        let database = Database::open(place(url)).await.unwrap();
        let masters = MasterKeys::new(vec![master.as_bytes().to_vec().into()]).unwrap();
        let keychain = database.open_deployment(&masters, SystemClock.now()).await.unwrap().keychain;
        let loaded = database.load_ring(&keychain).await.unwrap();
        assert_eq!(loaded.quarantined, []);
        let mut opened = 0;
        for key in &loaded.keys {
            for version in key.versions.values() {
                let Some(sealed) = &version.sealed else { continue };
                let (id, key_type) = (key.record.id, key.record.key_type);
                let binding = Binding::material(keychain.deployment(), id, version.version, key_type);
                assert_eq!(version.dek_id, keychain.current(), "{} is left behind", key.record.name);
                keychain.open_sealed(version.dek_id, &binding, sealed).unwrap();
                opened += 1;
            }
        }
        assert_eq!(database.sealed_elsewhere(keychain.current()).await.unwrap(), 0);
        database.close().await;
        opened
    })
}

/// Clients that take another node when one is gone, and take down every answer that is not what it should be.
struct Load {
    clients: Vec<Client>,
    over: AtomicBool,
    asked: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Load {
    fn new(nodes: &[Node]) -> Self {
        let clients = nodes.iter().map(Node::client).collect();
        Self { clients, over: false.into(), asked: 0.into(), failed: Mutex::default() }
    }

    /// The same request to one node after the other until one answers.
    fn ask(&self, path: &str, body: &Value) -> Option<Value> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (id, body) = (format!("load-{number}"), body.to_string().into_bytes());
        for attempt in 0..1_000 {
            let client = &self.clients[(number + attempt) % self.clients.len()];
            let headers = [("Idempotency-Key", id.as_str())];
            let Some(answer) = client.try_send("POST", path, Some(body.clone()), &headers) else {
                process::pause(Duration::from_millis(20));
                continue;
            };
            if (200..300).contains(&answer.status) {
                return Some(answer.json());
            }
            self.failed.lock().unwrap().push(format!("{path}: {} {}", answer.status, answer.text));
            return None;
        }
        self.failed.lock().unwrap().push(format!("{path}: nobody answers"));
        None
    }

    /// Uses and changes keys of all kinds, until it is over.
    fn run(&self, worker: usize, keys: usize) {
        let mut refresh = None;
        let mut ciphertexts: BTreeMap<String, Value> = BTreeMap::new();
        for turn in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let index = (turn * 7 + worker * 20) % keys / 20 * 20;
            let data = format!("seed-{index:05}");
            let text = self.ask(&format!("/v1/keys/{data}/encrypt"), &json!({"plaintext": "aGVsbG8="}));
            if let Some(text) = text {
                ciphertexts.insert(data.clone(), text["ciphertext"].clone());
            }
            // Under versions that are about to be sealed anew, have been, or were replaced meanwhile.
            let oldest = ciphertexts.iter().next().map(|(key, text)| (key.clone(), text.clone()));
            if let Some((key, ciphertext)) = oldest {
                let opened = self.ask(&format!("/v1/keys/{key}/decrypt"), &json!({"ciphertext": ciphertext}));
                assert!(opened.is_none_or(|opened| opened["plaintext"] == "aGVsbG8="));
            }
            if turn % 5 == 0 {
                self.ask(
                    &format!("/v1/keys/{data}/rotate"),
                    &json!({"force": true, "reason": "load", "consistency": "eventual"}),
                );
            }
            let pair = match refresh.take() {
                None => self.ask("/v1/tokens", &json!({"refresh": true})),
                Some(token) => self.ask("/v1/tokens/refresh", &json!({"refresh_token": token})),
            };
            refresh = pair.map(|pair| pair["refresh_token"].clone());
        }
    }
}

/// Done when 3: everything is moved under load although nodes are killed, and in the end nothing refers to the old master.
#[test]
fn rows_move_under_load_while_nodes_are_killed() {
    let is_full = std::env::var_os("TEST_FULL").is_some();
    let (versions, kills) = if is_full { (100_000, 20) } else { (1_000, 2) };
    let keys = versions / 3 + 1;
    let seed = 90_210;
    let mut random = StdRng::seed_from_u64(seed);
    let postgres = Postgres::start();
    let url = postgres.url();
    #[expect(clippy::disallowed_methods, reason = "the seeded keys must not be due by the nodes' clock")]
    let now = SystemTime::now();
    run(seed::seed_at(place(&url), keys, now.into()));
    let masters = both();
    let rate = if is_full { "2000" } else { "150" };
    let environment = [(KEY, masters.as_str()), STALENESS, ("CLAVIGER_SEAL__REKEY_RATE", rate)];
    let mut nodes = at_once(NODES, |index| settled_node(&url, index, &environment));
    let load = Load::new(&nodes);
    thread::scope(|scope| {
        for worker in 0..2 {
            let load = &load;
            scope.spawn(move || load.run(worker, keys));
        }
        let _whatever_happens = Over(&load.over);
        let began = rotate(&nodes[0].client()).expect(200);
        assert_eq!(
            (&began["master"]["version"], &began["rekey"]["state"]),
            (&json!(2), &json!("waiting")),
            "{began}"
        );
        rotate(&nodes[1].client()).refused(409, "key_state_conflict");
        for _ in 0..kills {
            let victim = random.random_range(0..NODES);
            process::pause(Duration::from_millis(random.random_range(100..4_000)));
            nodes[victim].kill9();
            process::pause(Duration::from_millis(random.random_range(0..500)));
            nodes[victim].restart();
        }
        let limit = if is_full { Duration::from_secs(600) } else { PATIENCE };
        let status = until(limit, || is_done(&nodes[2].client()));
        let status =
            status.unwrap_or_else(|| panic!("seed {seed}: {}", nodes[2].client().get("/v1/seal").text));
        let rekey = &status["rekey"];
        assert_eq!((&rekey["failed"], &rekey["done"]), (&json!(0), &rekey["total"]), "{status}");
        assert!(rekey["total"].as_u64().unwrap() >= versions as u64, "{status}");
    });
    let asked = load.asked.load(Ordering::Relaxed);
    assert_eq!(*load.failed.lock().unwrap(), Vec::<String>::new(), "seed {seed}, {asked} requests");
    assert!(asked > 100, "{asked} requests are no load");
    drop(nodes);
    assert!(opened(&url, NEW) >= versions);
    let folder = tempfile::tempdir().unwrap();
    let database = ("CLAVIGER_DATABASE__URL", url.as_str());
    let (code, log) = node::refused_start(folder.path(), &[database, (KEY, MASTER)]);
    assert!(code == Some(1) && log.lines().count() == 1 && log.contains("seal.master_key"), "{log}");
    let node = settled_node(&url, 9, &[(KEY, NEW)]);
    node.client().post("/v1/tokens", &json!({})).expect(201);
}

/// Ends the load, also when the test has failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_node_without_the_new_master_is_named_and_nothing_has_changed() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let first = settled_node(&url, 0, &[STALENESS]);
    rotate(&first.client()).refused(409, "key_state_conflict");
    drop(first);
    let masters = both();
    let given = [masters.as_str(), masters.as_str(), MASTER];
    let mut nodes = at_once(NODES, |index| settled_node(&url, index + 1, &[(KEY, given[index]), STALENESS]));
    // The first one, which is no more, lacks it too until it counts as gone.
    let lacking = until(PATIENCE, || {
        let problem = rotate(&nodes[0].client()).refused(409, "key_state_conflict");
        (problem["nodes"] == json!(["node-3"])).then_some(problem)
    });
    let lacking = lacking.unwrap();
    assert!(lacking["detail"].as_str().unwrap().contains("node-3"), "{lacking}");
    for secret in [NEW, MASTER] {
        assert!(!lacking.to_string().contains(secret));
    }
    let before = nodes[0].client().get("/v1/seal").expect(200);
    assert_eq!((&before["master"]["version"], &before["data_keys"]), (&json!(1), &json!(1)), "{before}");
    let of = |name: &str| {
        let nodes = before["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["name"] == name && node["live"] == true).unwrap()["masters"].clone()
    };
    assert_eq!(of("node-1").as_array().unwrap().len(), 2);
    assert_eq!(of("node-3"), json!([before["master"]["fingerprint"]]));

    // It is given the new one, and then it goes.
    nodes[2].set(KEY, &masters);
    nodes[2].restart();
    let rotated = until(PATIENCE, || {
        let answer = rotate(&nodes[0].client());
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(rotated.unwrap()["master"]["fingerprint"], of("node-1")[0]);
    let status = done(&nodes[1].client());
    assert_eq!((&status["master"]["version"], &status["data_keys"]), (&json!(2), &json!(2)), "{status}");
    let cluster = nodes[2].client().get("/v1/cluster").expect(200);
    assert_eq!(cluster["seal"]["rekey"]["state"], "done", "{cluster}");
    // In the log of the node that was asked, and for whoever asks any node.
    let events = nodes[2].client().get("/v1/audit?event=master_rotated&limit=100").expect(200);
    assert!(events.to_string().contains("previous_fingerprint"), "{events}");
    let replaced = nodes[2].client().get("/v1/audit?event=data_key_replaced").expect(200);
    assert_eq!(replaced.to_string().matches("\"data_key\"").count(), 1, "{replaced}");
}

#[test]
fn a_node_that_was_away_and_lacks_the_master_answers_nobody() {
    let postgres = Postgres::start();
    let url = postgres.url();
    // The deployment begins under the old one.
    let mut nodes = vec![settled_node(&url, 0, &[STALENESS])];
    nodes.push(settled_node(&url, 1, &[(KEY, &both()), STALENESS]));
    nodes[0].stop();
    let rotated = until(PATIENCE, || {
        let answer = rotate(&nodes[1].client());
        if answer.status == 200 {
            return Some(());
        }
        drop(answer.refused(409, "key_state_conflict"));
        None
    });
    rotated.unwrap();
    nodes[0].resume();
    let client = nodes[0].client();
    let sealed = until(PATIENCE, || {
        let answer = client.post("/v1/tokens", &json!({}));
        assert_eq!(answer.status, 503, "{}", answer.text);
        (answer.json()["code"] == "sealed").then_some(())
    });
    sealed.unwrap();
    client.get("/readyz").refused(503, "sealed");
    done(&nodes[1].client());
    nodes[1].client().post("/v1/tokens", &json!({})).expect(201);
    nodes[0].set(KEY, NEW);
    nodes[0].restart();
    nodes[0].client().get("/readyz").expect(200);
    nodes[0].client().post("/v1/tokens", &json!({})).expect(201);
}

#[test]
fn a_master_of_our_own_is_made_kept_and_replaced() {
    let mut node = Node::with(&[(KEY, ""), ("CLAVIGER_SEAL__REKEY_RATE", "20")]);
    let file = node.folder().join("data/master.key");
    let lines = |file: &std::path::Path| -> Vec<String> {
        fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
    };
    let first = lines(&file);
    let pair = node.client().post("/v1/tokens", &json!({"refresh": true})).expect(201);
    let spec = json!({"name": "k", "type": "aes256-gcm"});
    node.client().post("/v1/keys", &spec).expect(201);
    let text = node.client().post("/v1/keys/k/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    let status = rotate(&node.client()).expect(200);
    assert_eq!((&status["master"]["generated"], &status["master"]["version"]), (&json!(true), &json!(2)));
    let second = lines(&file);
    assert!(second.len() == 2 && second[1] == first[0] && second[0] != first[0]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Twenty a second: it is cut off in the middle.
    let client = node.client();
    let begun = until(PATIENCE, || {
        let status = client.get("/v1/seal").expect(200);
        (status["rekey"]["done"].as_u64() > Some(0)).then_some(status)
    });
    begun.unwrap();
    node.restart();
    let status = done(&node.client());
    assert_eq!(status["rekey"]["failed"], 0, "{status}");
    let client = node.client();
    let opened = client.post("/v1/keys/k/decrypt", &json!({"ciphertext": text["ciphertext"]})).expect(200);
    assert_eq!(opened["plaintext"], "aGk=");
    client.post("/v1/tokens/refresh", &json!({"refresh_token": pair["refresh_token"]})).expect(200);
    // A second one: of the masters of before only one stays in the file.
    rotate(&client).expect(200);
    let third = lines(&file);
    assert!(third.len() == 2 && third[1] == second[0]);
    done(&client);
    // Only the newest is needed, and nothing else opens the database.
    let folder = node.into_folder();
    for (master, opens) in [(&third[1], false), (&first[0], false), (&third[0], true)] {
        let path = folder.path().join("data/master.key");
        fs::write(&path, master).unwrap();
        if opens {
            continue;
        }
        let (code, log) = node::refused_start(folder.path(), &[]);
        assert!(code == Some(1) && log.contains("seal.master_key"), "{log}");
    }
    let node = Node::within(folder, &[(KEY, "")]);
    let opened =
        node.client().post("/v1/keys/k/decrypt", &json!({"ciphertext": text["ciphertext"]})).expect(200);
    assert_eq!(opened["plaintext"], "aGk=");
}

#[test]
fn an_overdue_master_of_our_own_is_replaced_by_itself() {
    let node = Node::with(&[(KEY, ""), ("CLAVIGER_SEAL__ROTATE_EVERY", "3s")]);
    let client = node.client();
    let rotated = until(PATIENCE, || {
        let status = client.get("/v1/seal").expect(200);
        (status["master"]["version"].as_u64() >= Some(3)).then_some(())
    });
    rotated.unwrap();
    let records = node.records();
    assert!(records.iter().any(|record| record["event"] == "master_rotated" && record["actor"] == "system"));
}

#[test]
fn an_overdue_master_that_was_given_is_told_of() {
    let node = Node::with(&[
        ("CLAVIGER_SEAL__ROTATE_EVERY", "1s"),
        ("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0"),
    ]);
    let overdue = until(PATIENCE, || {
        let page = node.internal().get("/metrics").text;
        let line = page.lines().find(|line| line.starts_with("claviger_master_overdue_seconds "))?;
        (line.rsplit(' ').next()?.parse::<f64>().ok()? > 0.0).then_some(())
    });
    overdue.unwrap();
    let status = node.client().get("/v1/seal").expect(200);
    assert_eq!((&status["master"]["overdue"], &status["master"]["version"]), (&json!(true), &json!(1)));
    let said = || node.log().contains("the master is overdue").then_some(());
    until(PATIENCE, said).unwrap();
}

/// A row that was edited is named and left alone, and keeps nobody else from moving.
#[test]
fn damaged_rows_are_counted_and_left_alone() {
    let node = Node::start();
    for name in ["victim", "other"] {
        node.client().post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
    }
    let folder = node.into_folder();
    let path = folder.path().join("data/claviger.db");
    run(async {
        use sea_orm::ConnectionTrait as _;
        let connection = crate::tampered::open(&path).await;
        let sql = "UPDATE key_versions SET reason = 'x' WHERE version = 1 AND key_id = (SELECT id FROM keys WHERE name = 'victim')";
        connection.execute_unprepared(sql).await.unwrap();
        let sql = "UPDATE key_versions SET created_at = 'soon' WHERE version = 2 AND key_id = (SELECT id FROM keys WHERE name = 'victim')";
        connection.execute_unprepared(sql).await.unwrap();
        connection.close().await.unwrap();
    });
    let node = Node::within(folder, &[(KEY, &both()), ("CLAVIGER_SEAL__REKEY_RATE", "40")]);
    rotate(&node.client()).expect(200);
    let status = done(&node.client());
    let rekey = &status["rekey"];
    assert_eq!(rekey["failed"], 2, "{status}");
    assert_eq!(rekey["done"].as_u64().unwrap() + 2, rekey["total"].as_u64().unwrap(), "{status}");
    node.client().post("/v1/tokens", &json!({"key": "other"})).expect(201);
}

/// A row of `rekeys` that was edited is named, and does not say whether a rotation is done.
#[test]
fn a_move_that_was_edited_to_be_done_is_not() {
    let node = Node::within(Node::start().into_folder(), &[(KEY, &both())]);
    rotate(&node.client()).expect(200);
    done(&node.client());
    let edits = [
        "UPDATE rekeys SET done = 7",
        "UPDATE rekeys SET finished_at = 1",
        "DELETE FROM rekeys",
        "UPDATE rekeys SET mac = NULL",
    ];
    let (mut folder, mut told) = (node.into_folder(), 0);
    for edit in edits {
        let path = folder.path().join("data/claviger.db");
        run(async {
            use sea_orm::ConnectionTrait as _;
            let connection = crate::tampered::open(&path).await;
            assert_eq!(connection.execute_unprepared(edit).await.unwrap().rows_affected(), 1, "{edit}");
            connection.close().await.unwrap();
        });
        let node = Node::within(folder, &[(KEY, &both())]);
        // All rows are looked at again, and then it is done, by its own word.
        let status = done(&node.client());
        assert_eq!(status["rekey"]["done"], 0, "{edit}: {status}");
        // The log goes on from start to start.
        let before = std::mem::replace(&mut told, node.log().matches("a row of rekeys").count());
        assert_eq!(told > before, !edit.contains("NULL"), "{edit}: {}", node.log());
        folder = node.into_folder();
    }
}
