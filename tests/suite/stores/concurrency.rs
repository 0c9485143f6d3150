//! Several at once, and none of them lost.

use claviger_tests::{
    Cluster, Node,
    cluster::at_once,
    process::{pause, until},
};
use serde_json::{Value, json};

use super::{node_patience, put, put_if};

/// Of several who write on one state at once, on several nodes, one does.
#[test]
fn p2_one_of_many_wins() {
    let cluster = Cluster::start(2, &[]);
    let path = "/v1/secrets/alice/counter";
    put(&cluster.client(0), path, &json!({"value": "0"})).expect(201);
    for round in 1..=10 {
        let tag = cluster.client(round % 2).get(path).header("etag").to_owned();
        let answers = at_once(6, |index| {
            let body = json!({"value": format!("{round}.{index}")});
            put_if(&cluster.client(index % 2), path, &body, ("If-Match", &tag))
        });
        let won: Vec<Value> = answers
            .iter()
            .filter(|answer| answer.status == 200)
            .map(|answer| answer.json()["value"].clone())
            .collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 412)), "{answers:?}");
        assert_eq!(cluster.client(0).get(path).expect(200)["value"], won[0]);
        // Of those who want to be the first, too.
        let fresh = format!("/v1/secrets/alice/new-{round}");
        let answers = at_once(6, |index| {
            put_if(&cluster.client(index % 2), &fresh, &json!({"value": "x"}), ("If-None-Match", "*")).status
        });
        assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|status| matches!(status, 201 | 412)), "{answers:?}");
    }
    assert_eq!(cluster.client(1).get(path).expect(200)["version"], 11);
}

/// Without conditions everybody writes, one after the other, also where batches lock the same in different orders.
#[test]
fn writers_take_turns() {
    let cluster = Cluster::start(2, &[]);
    let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    let answers = at_once(8, |index| {
        let mut names = names.clone();
        if index % 2 == 0 {
            names.reverse();
        }
        let put: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "value": index.to_string()})).collect();
        (0..5)
            .map(|_| {
                cluster.client(index % 2).post("/v1/secrets/alice:batch", &json!({"put": put})).expect(200)
            })
            .filter(|done| done["put"].as_array().unwrap().iter().any(|item| item.get("error").is_some()))
            .count()
    });
    assert_eq!(answers, [0; 8]);
    for name in names {
        assert_eq!(cluster.client(0).get(&format!("/v1/secrets/alice/{name}")).expect(200)["version"], 40);
    }
}

/// A node that dies between commit and answer has done it once, and says so to whoever asks again.
#[test]
fn p1_a_retry_writes_nothing_twice() {
    let mut node = Node::settled(&[]);
    let client = node.client();
    let body = |round: usize| json!({"put": [{"name": "s", "value": format!("v{round}")}, {"name": format!("n{round}"), "value": "x", "if_none_match": "*"}], "get": ["s"]});
    for round in 1..=12_usize {
        let (bytes, key) = (body(round).to_string().into_bytes(), format!("round-{round}"));
        let send = || {
            client.try_send(
                "POST",
                "/v1/secrets/alice:batch",
                Some(bytes.clone()),
                &[("Idempotency-Key", &key)],
            )
        };
        let first = std::thread::scope(|scope| {
            let asked = scope.spawn(send);
            pause(std::time::Duration::from_micros(700 * round as u64));
            node.kill9();
            asked.join().unwrap()
        });
        node.restart();
        let again = until(node_patience(), send).unwrap().expect(200);
        if let Some(first) = first.filter(|first| first.status == 200) {
            assert_eq!(again["put"], first.json()["put"]);
        }
        assert_eq!(again["put"][0]["version"], round, "{again}");
        assert_eq!(again["put"][1]["version"], 1, "{again}");
        assert_eq!(again["get"][0]["value"], format!("v{round}"));
        let other = client.send(
            "POST",
            "/v1/secrets/alice:batch",
            Some(body(round + 1).to_string().into_bytes()),
            &[("Idempotency-Key", &key)],
        );
        other.refused(400, "invalid_request");
    }
}

/// The same request, many times at once, on two nodes: it is done once, and all hear the same of it.
#[test]
fn p2_many_at_once_under_one_key_are_one() {
    let cluster = Cluster::start(2, &[]);
    for round in 1..=5_usize {
        let body = json!({"put": [{"name": "a", "value": format!("{round}")}, {"name": "b", "value": "x"}]});
        let (body, key) = (body.to_string().into_bytes(), format!("round-{round}"));
        let answers = at_once(8, |index| {
            let client = cluster.client(index % 2);
            let headers = [("Idempotency-Key", key.as_str())];
            client.send("POST", "/v1/secrets/alice:batch", Some(body.clone()), &headers).expect(200)
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(
            (&answers[0]["put"][0]["version"], &answers[0]["put"][1]["version"]),
            (&json!(round), &json!(round))
        );
    }
}

/// What is read for a retry is what is there now, and only for those who still may.
#[test]
fn a_retry_reads_anew() {
    let node = Node::start();
    let admin = node.client();
    let (custodian, _) = super::named_key(&admin, "c", &["custodian"]);
    let send = || {
        let body = json!({"put": [{"name": "a", "value": "1"}], "get": ["a"]}).to_string().into_bytes();
        custodian.send("POST", "/v1/secrets/alice:batch", Some(body), &[("Idempotency-Key", "k")])
    };
    assert_eq!(send().expect(200)["get"][0]["value"], "1");
    put(&admin, "/v1/secrets/alice/a", &json!({"value": "2"})).expect(200);
    let again = send().expect(200);
    assert_eq!((&again["put"][0]["version"], &again["get"][0]["value"]), (&json!(1), &json!("2")));
    let text = "forbid (principal in Claviger::Role::\"custodian\", action == Claviger::Action::\"secret.read\", resource);";
    assert_eq!(admin.send("PUT", "/v1/policies/no", Some(text.into()), &[]).status, 201);
    assert_eq!(send().expect(200)["get"][0]["error"]["code"], "forbidden");
}
