//! P5: whoever copies the database, Redis and the logs has nothing.

use claviger_tests::{Cluster, Node, Redis, needles::Needles};
use serde_json::json;

use super::{put, rotate, wait_until_moved};

/// Everything is used in every way, and then looked for wherever a thief may reach.
#[test]
fn p5_a_thief_has_nothing() {
    let redis = Redis::start();
    let url = redis.url();
    let monitor = redis.monitor();
    let mut cluster = Cluster::start(2, &[("CLAVIGER_REDIS__URL", &url), ("CLAVIGER_LOG__FILTER", "debug")]);
    let mut needles = Needles::default();
    for node in 0..2 {
        use_everything(&cluster.nodes[node], node, &mut needles);
    }
    rotate(&cluster.client(0));
    wait_until_moved(&cluster.client(0));
    let mut places: Vec<(String, Vec<u8>)> = vec![
        ("the database".to_owned(), cluster.postgres.dump().into_bytes()),
        ("the database's log".to_owned(), cluster.postgres.log().into_bytes()),
        ("Redis".to_owned(), redis.dump()),
        ("what Redis was told".to_owned(), monitor.text().into_bytes()),
    ];
    for node in &mut cluster.nodes {
        assert!(node.terminate().success());
        for file in ["data/audit/audit.log", "data/audit/security.log", "stderr"] {
            places.push((file.to_owned(), std::fs::read(node.folder().join(file)).unwrap()));
        }
    }
    // bytea stands in hex in a dump, so that raw bytes would not be found.
    let dump = String::from_utf8_lossy(&places[0].1).into_owned();
    let columns: Vec<u8> = dump
        .split("'\\x")
        .skip(1)
        .filter_map(|rest| hex::decode(rest.split('\'').next()?).ok())
        .flatten()
        .collect();
    assert!(columns.len() > 2_000, "{}", columns.len());
    places.push(("columns".to_owned(), columns));
    for (place, haystack) in &places {
        assert_eq!(needles.found_in(haystack), Vec::<&str>::new(), "in {place}");
    }
    assert!(
        dump.contains("public.secrets") && places.iter().map(|(_, text)| text.len()).sum::<usize>() > 100_000
    );
}

/// The same with a file, whose free pages a thief reads too.
#[test]
fn p5_a_thief_of_the_file_has_nothing() {
    let mut node = Node::with(&[("CLAVIGER_LOG__FILTER", "debug")]);
    let mut needles = Needles::default();
    use_everything(&node, 0, &mut needles);
    assert!(node.terminate().success());
    for file in ["data/claviger.db", "data/audit/audit.log", "data/audit/security.log", "stderr"] {
        let haystack = std::fs::read(node.folder().join(file)).unwrap();
        assert_eq!(needles.found_in(&haystack), Vec::<&str>::new(), "in {file}");
    }
}

fn use_everything(node: &Node, number: usize, needles: &mut Needles) {
    let client = node.client();
    let mut secret = |name: &str| {
        let text = format!("planted {name} {number} {}", rand::random::<u64>());
        needles.add(name, text.as_bytes());
        text
    };
    let (user, path) = (format!("user-{number}"), format!("/v1/secrets/user-{number}/s"));
    for version in 0..3 {
        let body = json!({"value": secret(&format!("secret {version}"))});
        assert!(put(&client, &path, &body).status < 300);
    }
    client.get(&path).expect(200);
    client.get(&format!("{path}?version=1")).expect(200);
    let batch =
        json!({"put": [{"name": "b", "value": secret("batch")}], "get": ["s", "b"]}).to_string().into_bytes();
    client
        .send("POST", &format!("/v1/secrets/{user}:batch"), Some(batch), &[("Idempotency-Key", &user)])
        .expect(200);
    let tokens = json!({"access_token": secret("access"), "refresh_token": secret("refresh")});
    put(&client, &format!("/v1/auth-tokens/{user}/p"), &tokens).expect(201);
    client.get(&format!("/v1/auth-tokens/{user}/p")).expect(200);
    let batch = json!({"put": [{"user": user, "provider": "q", "access_token": secret("batch access")}], "get": [{"user": user, "provider": "p"}]});
    client.post("/v1/auth-tokens:batch", &batch).expect(200);
    put(&client, &format!("/v1/offline-tokens/{user}"), &json!({"offline_token": secret("offline")}))
        .expect(201);
    client.get(&format!("/v1/offline-tokens/{user}")).expect(200);
    // In every wrong place.
    let lost = secret("lost");
    for path in [
        format!("/v1/secrets/{lost}"),
        format!("/v1/secrets/{user}/{lost}"),
        format!("/v1/secrets/{user}/x-{}", hex::encode(&lost)),
    ] {
        let answer = client.get(&path);
        assert!(!answer.text.contains("planted"), "{}", answer.text);
        assert!(matches!(answer.status, 200 | 400 | 404), "{}", answer.text);
    }
    for body in [
        json!({"value": [lost]}),
        json!({"value": "v", lost.clone(): 1}),
        json!({"value": "v", "description": [lost]}),
    ] {
        let answer = put(&client, &path, &body);
        assert!(answer.status == 400 && !answer.text.contains("planted"), "{}", answer.text);
    }
    let gone = format!("/v1/secrets/{user}/gone");
    put(&client, &gone, &json!({"value": secret("deleted")})).expect(201);
    client.delete(&gone).expect(204);
}
