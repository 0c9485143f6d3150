//! Secrets: written, read, listed, remembered, deleted.

use claviger_tests::{Client, Cluster, Node};
use serde_json::{Value, json};

use super::{put, put_if};

/// The same on a file and on a server.
fn on_both(test: impl Fn(&Client)) {
    test(&Node::start().client());
    test(&Cluster::start(1, &[]).client(0));
}

#[test]
fn a_secret_is_what_was_put() {
    on_both(|client| {
        let path = "/v1/secrets/alice/github";
        client.get(path).refused(404, "not_found");
        let made = put(client, path, &json!({"value": "ü 1\n\u{0}", "description": "token"}));
        let (tag, made) = (made.header("etag").to_owned(), made.expect(201));
        assert_eq!((&made["value"], &made["version"]), (&json!("ü 1\n\u{0}"), &json!(1)));
        let read = client.get(path);
        assert_eq!(read.header("etag"), tag);
        assert_eq!(read.header("cache-control"), "no-store");
        let read = read.expect(200);
        assert_eq!(read, made);
        assert_eq!(read["description"], "token");
        let again = put(client, path, &json!({"value": "2"})).expect(200);
        assert_eq!((&again["version"], &again["description"]), (&json!(2), &Value::Null));
        assert_eq!(client.get(path).expect(200), again);
        // Another owner's of the same name, and another name's of the same owner, are others.
        client.get("/v1/secrets/bob/github").refused(404, "not_found");
        client.get("/v1/secrets/alice/gitlab").refused(404, "not_found");
        client.delete(path).expect(204);
        client.get(path).refused(404, "not_found");
        client.get(&format!("{path}?version=1")).refused(404, "not_found");
        client.delete(path).refused(404, "not_found");
        // What comes after under the name is another: an old tag does not fit it.
        let reborn = put(client, path, &json!({"value": "3"}));
        assert_ne!(reborn.header("etag"), tag);
        assert_eq!(reborn.expect(201)["version"], 1);
        put_if(client, path, &json!({"value": "4"}), ("If-Match", &tag)).refused(412, "precondition_failed");
    });
}

#[test]
fn the_last_ten_versions_are_kept() {
    on_both(|client| {
        let path = "/v1/secrets/alice/s";
        for version in 1..=13 {
            let body = json!({"value": format!("v{version}"), "description": format!("d{version}")});
            put(client, path, &body);
        }
        let versions = client.get(&format!("{path}/versions")).expect(200);
        let versions = versions["items"].as_array().unwrap();
        let numbers: Vec<u64> = versions.iter().map(|item| item["version"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (4..=13).rev().collect::<Vec<_>>());
        assert!(versions.iter().all(|item| item.get("value").is_none()));
        for version in 4..=13 {
            let read = client.get(&format!("{path}?version={version}")).expect(200);
            assert_eq!(read["value"], format!("v{version}"));
            assert_eq!(read["description"], format!("d{version}"));
        }
        for version in ["3", "14", "18446744073709551615"] {
            client.get(&format!("{path}?version={version}")).refused(404, "not_found");
        }
        client.get(&format!("{path}?version=x")).refused(400, "invalid_request");
        client.get("/v1/secrets/alice/none/versions").refused(404, "not_found");
    });
}

#[test]
fn conditions_are_kept() {
    on_both(|client| {
        let path = "/v1/secrets/alice/s";
        let body = |value: &str| json!({"value": value});
        put_if(client, path, &body("0"), ("If-Match", "*")).refused(412, "precondition_failed");
        let first = put_if(client, path, &body("1"), ("If-None-Match", "*"));
        let first = (first.header("etag").to_owned(), first.expect(201)).0;
        put_if(client, path, &body("x"), ("If-None-Match", "*")).refused(412, "precondition_failed");
        let second = put_if(client, path, &body("2"), ("If-Match", &first));
        let second = (second.header("etag").to_owned(), second.expect(200)).0;
        put_if(client, path, &body("x"), ("If-Match", &first)).refused(412, "precondition_failed");
        put_if(client, path, &body("x"), ("If-Match", "\"2\"")).refused(412, "precondition_failed");
        put_if(client, path, &body("x"), ("If-Match", "2")).refused(400, "invalid_request");
        assert_eq!(client.get(path).expect(200)["value"], "2");
        client.send("DELETE", path, None, &[("If-Match", &first)]).refused(412, "precondition_failed");
        client.send("DELETE", path, None, &[("If-Match", &second)]).expect(204);
    });
}

#[test]
fn lists_have_names_and_no_values() {
    on_both(|client| {
        for name in ["b", "a", "c", "B"] {
            put(client, &format!("/v1/secrets/alice/{name}"), &json!({"value": "hidden-value"})).expect(201);
        }
        put(client, "/v1/secrets/alic/d", &json!({"value": "hidden-value"})).expect(201);
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client.get(&format!("/v1/secrets/alice?limit=3{cursor}"));
            assert!(!page.text.contains("hidden-value"));
            let page = page.expect(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 3);
            names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        names.sort();
        assert_eq!(names, ["B", "a", "b", "c"]);
        assert_eq!(client.get("/v1/secrets/nobody").expect(200)["items"], json!([]));
    });
}

#[test]
fn bad_input_is_refused_with_a_rule() {
    let node = Node::start();
    let client = node.client();
    let long = "x".repeat(64 << 10);
    put(&client, "/v1/secrets/a/s", &json!({"value": long})).expect(201);
    put(&client, "/v1/secrets/a/s", &json!({"value": format!("{long}x")})).refused(413, "payload_too_large");
    for body in [
        json!({}),
        json!({"value": ""}),
        json!({"value": 1}),
        json!({"value": "x", "more": 1}),
        json!({"value": "x", "description": "d".repeat(1_025)}),
        json!({"value": "x", "description": "\u{0}"}),
        json!(["x"]),
    ] {
        put(&client, "/v1/secrets/a/s", &body).refused(400, "invalid_request");
    }
    let longest = "%C3%BC".repeat(255);
    put(&client, &format!("/v1/secrets/{longest}/s"), &json!({"value": "x"})).expect(201);
    for path in [
        format!("/v1/secrets/{longest}x/s"),
        "/v1/secrets/a/-s".to_owned(),
        "/v1/secrets/a/%C3%BC".to_owned(),
        "/v1/secrets/a%0A/s".to_owned(),
        "/v1/secrets/a%00/s".to_owned(),
        "/v1/secrets/%FF/s".to_owned(),
    ] {
        put(&client, &path, &json!({"value": "x"})).refused(400, "invalid_request");
        client.get(&path).refused(400, "invalid_request");
    }
}

#[test]
fn a_batch_does_each_item_by_itself() {
    on_both(|client| {
        let batch = |body: Value| client.post("/v1/secrets/alice:batch", &body);
        let done = batch(json!({
            "put": [{"name": "a", "value": "1"}, {"name": "b", "value": "2", "if_match": "*"}, {"name": "c", "value": "3", "description": "d", "if_none_match": "*"}],
            "get": ["c", "none", "a"],
        }))
        .expect(200);
        assert_eq!(done["put"][0]["version"], 1);
        assert_eq!(done["put"][1]["error"]["code"], "precondition_failed");
        assert_eq!(done["put"][2]["name"], "c");
        assert_eq!((&done["get"][0]["value"], &done["get"][0]["description"]), (&json!("3"), &json!("d")));
        assert_eq!(done["get"][1]["error"]["code"], "not_found");
        assert_eq!((&done["get"][2]["name"], &done["get"][2]["value"]), (&json!("a"), &json!("1")));
        client.get("/v1/secrets/alice/b").refused(404, "not_found");
        // A tag of a batch is one for If-Match.
        let again = json!({"put": [{"name": "a", "value": "4", "if_match": done["put"][0]["etag"]}]});
        assert_eq!(batch(again.clone()).expect(200)["put"][0]["version"], 2);
        assert_eq!(batch(again).expect(200)["put"][0]["error"]["code"], "precondition_failed");
        for body in [
            json!({}),
            json!({"get": (0..101).map(|number| format!("n{number}")).collect::<Vec<_>>()}),
            json!({"put": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}),
            json!({"get": ["a/b"]}),
        ] {
            batch(body).refused(400, "invalid_request");
        }
        let long = json!({"put": [{"name": "a", "value": "x".repeat(65_537)}, {"name": "z", "value": "z"}]});
        let done = batch(long).expect(200);
        assert_eq!(done["put"][0]["error"]["code"], "payload_too_large");
        assert_eq!(done["put"][1]["version"], 1);
    });
}

/// An edited row is not used, and can be written anew.
#[test]
fn p7_rows_that_were_edited_are_not_used() {
    let cluster = Cluster::start(1, &[]);
    let (client, postgres) = (cluster.client(0), &cluster.postgres);
    for (owner, value) in [("alice", "of alice"), ("bob", "of bob")] {
        put(&client, &format!("/v1/secrets/{owner}/s"), &json!({"value": value})).expect(201);
        put(&client, &format!("/v1/secrets/{owner}/s"), &json!({"value": value})).expect(200);
    }
    let whole = "owner, name, version, kid, sealed, mac, id";
    for edit in [
        "UPDATE secrets SET description = 'x' WHERE owner = 'alice'",
        "UPDATE secrets SET version = 1 WHERE owner = 'alice'",
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE owner = 'bob') WHERE owner = 'alice'",
        // The whole row of another owner under the name of this one.
        "UPDATE secrets SET owner = 'alice2' WHERE owner = 'alice'; UPDATE secrets SET owner = 'alice' WHERE owner = 'bob'",
        // What it was before.
        "UPDATE secrets SET (sealed, mac) = (SELECT sealed, mac FROM secret_versions WHERE owner = 'alice') WHERE owner = 'alice'",
    ] {
        let before =
            postgres.psql(&format!("SELECT md5(string_agg(({whole})::text, ',' ORDER BY id)) FROM secrets"));
        let _none = postgres.psql(&format!("CREATE TABLE kept AS SELECT * FROM secrets; {edit}"));
        let problem = client.get("/v1/secrets/alice/s").refused(409, "key_state_conflict");
        assert!(!problem.to_string().contains("of "), "{problem}");
        let listed = client.get("/v1/secrets/alice").expect(200);
        assert_eq!(listed["items"][0]["version"], Value::Null, "{edit}");
        let _none =
            postgres.psql("DELETE FROM secrets; INSERT INTO secrets SELECT * FROM kept; DROP TABLE kept");
        let after =
            postgres.psql(&format!("SELECT md5(string_agg(({whole})::text, ',' ORDER BY id)) FROM secrets"));
        assert_eq!(before, after);
        assert_eq!(client.get("/v1/secrets/alice/s").expect(200)["value"], "of alice");
    }
    let _none = postgres.psql("UPDATE secrets SET mac = sealed WHERE owner = 'alice'");
    assert_eq!(put(&client, "/v1/secrets/alice/s", &json!({"value": "anew"})).expect(200)["version"], 2);
    assert_eq!(client.get("/v1/secrets/alice/s").expect(200)["value"], "anew");
}
