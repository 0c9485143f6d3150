//! Several nodes: whoever made a change, all are told of it.

use std::time::{Duration, Instant};

use claviger_tests::{Listener, Node, Postgres, Redis, cluster, cluster::at_once};
use serde_json::json;

use super::{create, rotate};

fn nodes(postgres: &Postgres, redis: Option<&Redis>) -> Vec<Node> {
    let url = redis.map(Redis::url);
    let environment: Vec<(&str, &str)> =
        url.iter().map(|url| ("CLAVIGER_REDIS__URL", url.as_str())).collect();
    let nodes = at_once(3, |node| cluster::node(&postgres.url(), node, &environment));
    if redis.is_some() {
        for node in &nodes {
            crate::cluster::redis::status(node, "connected");
        }
    }
    nodes
}

#[test]
fn what_one_node_does_all_are_told() {
    for with_redis in [true, false] {
        let postgres = Postgres::start();
        let redis = with_redis.then(Redis::start);
        let nodes = nodes(&postgres, redis.as_ref());
        let listeners: Vec<Listener> = nodes.iter().map(|node| Listener::of(node, "?topics=k")).collect();
        create(&nodes[0].client(), "k");
        for (turn, node) in nodes.iter().enumerate() {
            let began = Instant::now();
            let epoch = rotate(&node.client(), "k")["epoch"].as_u64();
            for listener in &listeners {
                let told = listener.event();
                let told = if told.event == "key.created" { listener.event() } else { told };
                assert_eq!((told.event.as_str(), told.id), ("key.rotated", epoch), "turn {turn}");
            }
            let most = if with_redis { Duration::from_secs(2) } else { Duration::from_secs(6) };
            assert!(began.elapsed() < most, "{:?}", began.elapsed());
        }
    }
}

/// A revocation is told on every node with what it is about, which no other column says.
#[test]
fn a_revocation_is_told_on_every_node() {
    let postgres = Postgres::start();
    let nodes = nodes(&postgres, None);
    let listeners: Vec<Listener> =
        nodes.iter().map(|node| Listener::of(node, "?topics=token.revoked")).collect();
    let client = nodes[1].client();
    let subject = "alice-7f3a91";
    client.post("/v1/tokens/revoke", &json!({"subject": subject})).expect(200);
    for listener in &listeners {
        assert_eq!(listener.event().data, json!({"subject": subject, "reauthenticate": true}));
    }
    assert!(!postgres.dump().contains(subject), "the database says whose tokens were revoked");
    let _hidden = postgres.psql("UPDATE revocations SET told = '\\x00'");
    client.post("/v1/tokens/revoke", &json!({"jti": "j-1"})).expect(200);
    for listener in &listeners {
        assert_eq!(listener.event().data, json!({"jti": "j-1"}));
    }
}
