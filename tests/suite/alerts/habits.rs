//! Keys that are used as they never were.

use claviger_tests::Cluster;
use serde_json::{Value, json};

use super::{Ears, in_state, quick};

/// A stranger, another network and a storm of decryptions, told once on three nodes and cleared.
#[test]
fn what_is_unusual_is_told() {
    let mut quick = quick();
    let rules = json!({"unusual_rate": {"calm": "1s"}, "decrypt_storm": {"calm": "1s"}}).to_string();
    quick.retain(|(name, _)| *name != "CLAVIGER_ALERTS__RULES");
    quick.push(("CLAVIGER_ALERTS__RULES", rules));
    quick.push(("CLAVIGER_ALERTS__LEARNING", "2s".to_owned()));
    quick.push(("CLAVIGER_AUTH__TRUSTED_PROXIES", "127.0.0.0/8".to_owned()));
    let environment: Vec<(&str, &str)> = quick.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let cluster = Cluster::start(3, &environment);
    let mut ears = Ears::of(&cluster.nodes);
    let admin = cluster.client(0);
    admin.post("/v1/keys", &json!({"name": "vault", "type": "aes256-gcm"})).expect(201);
    let holder = |name: &str| {
        let key = json!({"name": name, "roles": ["encrypter"]});
        let made = admin.post("/v1/api-keys", &key).expect(201);
        (made["id"].as_str().unwrap().replace('-', ""), admin.with_token(made["secret"].as_str()))
    };
    let ((_, usual), (stranger_id, stranger)) = (holder("usual"), holder("stranger"));
    let encrypt = json!({"plaintext": "aGk="});
    let from = |client: &claviger_tests::Client, address: &str| {
        let headers = [("x-forwarded-for", address)];
        let body = encrypt.to_string().into_bytes();
        client.send("POST", "/v1/keys/vault/encrypt", Some(body), &headers).expect(200)
    };
    let sealed = from(&usual, "192.0.2.1")["ciphertext"].clone();
    // Meanwhile the node gets to know the key.
    claviger_tests::process::pause(std::time::Duration::from_secs(3));
    from(&usual, "192.0.2.77");
    from(&stranger, "198.51.100.7");
    let raised = in_state(&cluster.client(1), ("unusual_use", "vault"), "open");
    let summary = raised["summary"].as_str().unwrap();
    assert!(summary.contains(&stranger_id) || summary.contains("198.51.100.0/24"), "{summary}");
    assert!(!summary.contains("192.0.2"), "{summary}");
    ears.heard("alert.raised", ("unusual_use", "vault"), 1);
    in_state(&cluster.client(2), ("unusual_use", "vault"), "cleared");
    ears.heard("alert.cleared", ("unusual_use", "vault"), 1);
    let batch: Vec<Value> = (0..1_000).map(|_| json!({"ciphertext": sealed})).collect();
    for _ in 0..2 {
        usual.post("/v1/keys/vault/decrypt", &json!({ "batch": batch })).expect(200);
    }
    let storm = in_state(&cluster.client(1), ("decrypt_storm", "vault"), "open");
    assert_eq!(storm["severity"], "critical");
    in_state(&cluster.client(1), ("unusual_rate", "vault"), "open");
    in_state(&cluster.client(1), ("decrypt_storm", "vault"), "cleared");
    in_state(&cluster.client(1), ("unusual_rate", "vault"), "cleared");
    ears.heard("alert.raised", ("decrypt_storm", "vault"), 1);
    ears.heard("alert.cleared", ("decrypt_storm", "vault"), 1);
}
