//! How often a version encrypts is counted, on all nodes together.

use claviger_actors::{
    clock::{Clock as _, SystemClock},
    seal::MasterKeys,
    store::{Database, Place},
};
use claviger_tests::{
    Node,
    node::MASTER,
    process::{PATIENCE, until},
};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use super::put;
use crate::tampered;

const HALF: u64 = 1 << 31;

/// What is set aside for a version.
fn set_aside(node: &Node, kid: &str) -> Option<i64> {
    tampered::run(async {
        let connection = tampered::open(&node.database()).await;
        let sql = format!("SELECT set_aside AS n FROM key_uses WHERE kid = '{kid}'");
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one_raw(statement).await.unwrap();
        connection.close().await.unwrap();
        row.map(|row| row.try_get("", "n").unwrap())
    })
}

/// As if so many had been made elsewhere; the node must not run.
fn made_elsewhere(node: Node, kid: &str, uses: u64) -> Node {
    let folder = node.into_folder();
    let path = folder.path().join("data/claviger.db");
    let kid = kid.parse().unwrap();
    tampered::run(async {
        let database = Database::open(Place::File(&path)).await.unwrap();
        let masters = MasterKeys::new(vec![MASTER.as_bytes().to_vec().into()]).unwrap();
        let keychain = database.open_deployment(&masters, SystemClock.now()).await.unwrap().keychain;
        database.set_uses_aside(&keychain, &kid, (uses, SystemClock.now()), 0).await.unwrap();
        database.close().await;
    });
    Node::within(folder, &[("CLAVIGER_ROTATION__TICK", "1s")])
}

fn primary(node: &Node, key: &str) -> (u64, String) {
    let key = node.client().get(&format!("/v1/keys/{key}")).expect(200);
    let version = key["primary_version"].as_u64().unwrap();
    let mut versions = key["versions"].as_array().unwrap().iter();
    let primary = versions.find(|known| known["version"] == version).unwrap();
    (version, primary["kid"].as_str().unwrap().to_owned())
}

/// Design §3: writes of the stores count, and a key that has encrypted 2^31 times rotates by itself.
#[test]
fn a_key_that_has_encrypted_often_enough_rotates_by_itself() {
    let node = Node::start();
    let write = |node: &Node| put(&node.client(), "/v1/secrets/alice/s", &json!({"value": "v"})).expect(201);
    let (version, kid) = primary(&node, "stores");
    assert_eq!((version, set_aside(&node, &kid)), (1, None), "nothing was encrypted yet");
    write(&node);
    let counted = until(PATIENCE, || set_aside(&node, &kid)).unwrap();
    assert!((1..1_000_000).contains(&counted), "{counted}");
    let node = made_elsewhere(node, &kid, HALF);
    assert_eq!(primary(&node, "stores").0, 1, "it is not known before it is used");
    put(&node.client(), "/v1/secrets/alice/s", &json!({"value": "w"})).expect(200);
    until(PATIENCE, || (primary(&node, "stores").0 == 2).then_some(())).expect("it rotates");
    let read = node.client().get("/v1/secrets/alice/s").expect(200);
    assert_eq!(read["value"], "w");
    let events = node.client().get("/v1/audit?event=key_rotated&key=stores").expect(200);
    assert_eq!(events["items"][0]["actor"], "system", "{events}");
}

/// The same for a key of callers, whose count somebody has edited: nobody knows how many there were.
#[test]
fn an_edited_count_is_taken_for_many() {
    let node = Node::start();
    node.client().post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let encrypt =
        |node: &Node| node.client().post("/v1/keys/k/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    let (_, kid) = primary(&node, "k");
    let text = encrypt(&node);
    until(PATIENCE, || set_aside(&node, &kid)).unwrap();
    let folder = node.into_folder();
    let path = folder.path().join("data/claviger.db");
    tampered::run(async {
        let connection = tampered::open(&path).await;
        connection.execute_unprepared("UPDATE key_uses SET set_aside = 0").await.unwrap();
        connection.close().await.unwrap();
    });
    let node = Node::within(folder, &[("CLAVIGER_ROTATION__TICK", "1s")]);
    encrypt(&node);
    until(PATIENCE, || (primary(&node, "k").0 == 2).then_some(())).expect("it rotates");
    assert!(node.log().contains("the count of encryptions was changed outside the service"));
    let opened =
        node.client().post("/v1/keys/k/decrypt", &json!({"ciphertext": text["ciphertext"]})).expect(200);
    assert_eq!(opened["plaintext"], "aGk=");
}

/// One that can't be replaced refuses at the end, and goes on to decrypt.
#[test]
fn at_the_end_a_key_refuses_to_encrypt() {
    let node = Node::start();
    let key = json!({"name": "t", "type": "aes256-gcm", "temporary": {"uses": 1_000}});
    node.client().post("/v1/keys", &key).expect(201);
    let encrypt = |node: &Node| node.client().post("/v1/keys/t/encrypt", &json!({"plaintext": "aGk="}));
    let (_, kid) = primary(&node, "t");
    let text: Value = encrypt(&node).expect(200);
    let node = made_elsewhere(node, &kid, 2 * HALF);
    let refused = until(PATIENCE, || {
        let answer = encrypt(&node);
        (answer.status != 200).then_some(answer)
    });
    let problem = refused.unwrap().refused(409, "key_state_conflict");
    assert!(problem["detail"].as_str().unwrap().contains("rotate the key"), "{problem}");
    let opened =
        node.client().post("/v1/keys/t/decrypt", &json!({"ciphertext": text["ciphertext"]})).expect(200);
    assert_eq!(opened["plaintext"], "aGk=");
}
