//! The mirror of a node.

use std::time::Duration;

use claviger_client::{Mirror, Role};
use serde_json::{Value, json};

use crate::fake::{Fake, NONCE, PATIENCE, Peer, next};

fn ring(epoch: u64, kids: &[&str]) -> Value {
    let keys: Vec<_> = kids.iter().map(|kid| json!({"kid": kid, "kty": "EC"})).collect();
    let versions: Vec<_> = kids
        .iter()
        .enumerate()
        .map(|(at, kid)| {
            let state = if at == 0 { "active" } else { "pre_activation" };
            json!({"version": at + 1, "kid": kid, "state": state})
        })
        .collect();
    json!({"epoch": epoch, "jwks": {"keys": keys}, "keys": [{"name": "k", "primary_version": 1, "versions": versions}]})
}

async fn until(mirror: &Mirror, what: impl Fn(&Mirror) -> bool) {
    let reached = async {
        while !what(mirror) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the mirror gets there");
}

fn kids(mirror: &Mirror) -> Vec<String> {
    let jwks = mirror.jwks().unwrap_or_default();
    let keys = jwks["keys"].as_array().cloned().unwrap_or_default();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Answers the next request, which asks for the ring.
async fn refreshed(peer: &mut Peer, ring: Value) {
    let request = peer.request().await;
    assert_eq!(request["method"], "ring.get");
    peer.answer(&request, ring).await;
}

#[tokio::test]
async fn a_mirror_follows_the_ring_across_connections() {
    let folder = tempfile::tempdir().unwrap();
    let server = Fake::new().await;
    let builder = server.builder().role(Role::Node).scopes(["node.sync"]);
    let (client, mut events) = builder.device(folder.path().join("device.pem")).start().unwrap();
    let mirror = client.mirror();
    let (mut peer, params) = server.welcome().await;
    assert_eq!((&params["role"], &params["device"]["nonce"]), (&json!("node"), &json!(NONCE)));
    assert_eq!(params["device"]["id"].as_str(), client.device_id());

    // Without asking: the whole ring, and then what happens.
    peer.event("ring.sync", 10, ring(10, &["k1", "k2"])).await;
    until(&mirror, |mirror| mirror.epoch() == Some(10)).await;
    assert_eq!(kids(&mirror), ["k1", "k2"]);
    assert_eq!(next(&mut events).await.0, "ring.sync");
    let compromised = json!({"name": "k", "version": 1, "kid": "k1", "state": "compromised"});
    peer.event("key.compromised", 12, compromised).await;
    peer.rotated(12, 2).await;
    until(&mirror, |mirror| kids(mirror) == ["k2"]).await;
    // Events do not tell of the next standby; the ring that is asked for does, unless it is older than they are.
    refreshed(&mut peer, ring(11, &["k1", "k2"])).await;
    refreshed(&mut peer, ring(13, &["k2", "k3"])).await;
    until(&mirror, |mirror| mirror.epoch() == Some(13)).await;
    assert_eq!(kids(&mirror), ["k2", "k3"]);
    for name in ["key.compromised", "key.rotated"] {
        assert_eq!(next(&mut events).await.0, name);
    }
    drop(peer);

    // Again the whole ring comes first, which the mirror takes; the application gets what it missed, and not the ring.
    let (mut peer, _) = server.welcome().await;
    peer.event("ring.sync", 20, ring(20, &["k5"])).await;
    assert_eq!(peer.subscribed(11).await, json!({"sinceEpoch": 11}));
    peer.rotated(12, 2).await;
    peer.rotated(15, 3).await;
    peer.rotated(21, 6).await;
    for epoch in [15, 21] {
        assert_eq!(next(&mut events).await.1, Some(epoch));
    }
    until(&mirror, |mirror| mirror.epoch() == Some(21)).await;
    assert_eq!(mirror.ring().unwrap().keys()["k"].primary_version, Some(6));
    assert!(mirror.staleness().unwrap() < PATIENCE);
}
