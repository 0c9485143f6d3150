//! A backup is of one epoch, whatever is written while it is made.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use claviger_tests::{Client, Cluster, Node, process};
use serde_json::{Value, json};

use super::{Safe, serve};

/// What was answered to writers: keys with the epoch of their creation, secrets with their last value.
#[derive(Default)]
struct Written {
    keys: Mutex<BTreeMap<String, u64>>,
    secrets: Mutex<BTreeMap<String, u64>>,
    revoked: Mutex<Vec<Value>>,
}

fn write(client: &Client, writer: usize, done: &AtomicBool, written: &Written) {
    let mut number = 0_u64;
    while !done.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("w{writer}-{number}");
        let answer = client.post("/v1/keys", &json!({"name": name, "type": "es256"}));
        let epoch = answer.header("x-claviger-epoch").parse().unwrap();
        answer.expect(201);
        written.keys.lock().unwrap().insert(name.clone(), epoch);
        let path = format!("/v1/secrets/w{writer}/s{}", number % 7);
        let body = json!({"value": number.to_string()}).to_string().into_bytes();
        let status = client.send("PUT", &path, Some(body), &[]).status;
        assert!((200..300).contains(&status));
        written.secrets.lock().unwrap().insert(path, number);
        let token = client.post("/v1/tokens", &json!({"key": name, "subject": "s"})).expect(201);
        client.post("/v1/tokens/revoke", &json!({"token": token["token"]})).expect(200);
        written.revoked.lock().unwrap().push(token["token"].clone());
    }
}

/// Backs up in the middle of writes, restores elsewhere, and holds what is there against what was answered.
fn drill(nodes: &[Client], backup: impl Fn(&str) -> Value, safe: &Safe) {
    let (done, written) = (AtomicBool::new(false), Written::default());
    let (made, sure) = thread::scope(|scope| {
        for (writer, client) in nodes.iter().enumerate() {
            let (done, written) = (&done, &written);
            scope.spawn(move || write(client, writer, done, written));
        }
        let some = || (written.keys.lock().unwrap().len() > 20).then_some(());
        process::until(process::PATIENCE, some).expect("they write");
        // Whatever was answered by now is in the backup.
        let sure = (written.secrets.lock().unwrap().clone(), written.revoked.lock().unwrap().clone());
        let made = backup("loaded");
        let more = written.keys.lock().unwrap().len();
        let some = || (written.keys.lock().unwrap().len() > more + 5).then_some(());
        process::until(process::PATIENCE, some).expect("nobody was held up");
        done.store(true, Ordering::Relaxed);
        (made, sure)
    });
    let folder = tempfile::tempdir().unwrap();
    safe.restore(folder.path(), &[], ("loaded", &[])).json();
    let node = serve(folder);
    let client = node.client();
    let epoch = made["epoch"].as_u64().unwrap();
    let (mut within, mut after) = (0, 0);
    for (name, made) in written.keys.lock().unwrap().iter() {
        let answer = client.get(&format!("/v1/keys/{name}"));
        if *made <= epoch {
            answer.expect(200);
            within += 1;
        } else {
            answer.refused(404, "key_not_found");
            after += 1;
        }
    }
    assert!(within > 20 && after > 0, "{within} {after}");
    for (path, value) in &sure.0 {
        let found = client.get(path).expect(200)["value"].as_str().unwrap().parse::<u64>().unwrap();
        let last = written.secrets.lock().unwrap()[path];
        assert!((*value..=last).contains(&found), "{path}: {found}");
    }
    for token in &sure.1 {
        let answer = client.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
        assert_eq!(answer["valid"], false, "{answer}");
    }
}

#[test]
fn a_backup_of_a_file_under_load_is_of_one_epoch() {
    let safe = Safe::new();
    let node = Node::start();
    let clients = [node.client(), node.client(), node.client()];
    drill(&clients, |name| safe.backup(node.folder(), &[], name), &safe);
}

#[test]
fn a_backup_of_a_cluster_under_load_is_of_one_epoch() {
    let safe = Safe::new();
    let cluster = Cluster::start(3, &[]);
    let clients = [0, 1, 2].map(|node| cluster.client(node));
    let url = cluster.postgres.url();
    let database = [("CLAVIGER_DATABASE__URL", url.as_str())];
    drill(&clients, |name| safe.backup(cluster.nodes[0].folder(), &database, name), &safe);
}
