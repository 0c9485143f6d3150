//! Tokens of third parties and offline tokens.

use claviger_tests::{Client, Cluster, Node};
use serde_json::{Value, json};

use super::put;

fn on_both(test: impl Fn(&Client)) {
    test(&Node::start().client());
    test(&Cluster::start(1, &[]).client(0));
}

#[test]
fn tokens_are_kept_and_replaced() {
    on_both(|client| {
        let path = "/v1/auth-tokens/alice/github";
        client.get(path).refused(404, "not_found");
        let body = json!({
            "access_token": "a1", "refresh_token": "r1",
            "access_expires_at": "2030-01-02T03:04:05Z", "refresh_expires_at": "2031-01-02T03:04:05.9Z",
        });
        let made = put(client, path, &body).expect(201);
        assert_eq!(made["access_expires_at"], "2030-01-02T03:04:05Z");
        assert_eq!(made["refresh_expires_at"], "2031-01-02T03:04:05Z");
        let read = client.get(path);
        let tag = read.header("etag").to_owned();
        assert_eq!(read.expect(200), made);
        let again = put(client, path, &json!({"access_token": "a2"})).expect(200);
        assert_eq!(
            (&again["version"], &again["refresh_token"], &again["access_expires_at"]),
            (&json!(2), &Value::Null, &Value::Null)
        );
        assert_eq!(client.get(path).expect(200), again);
        super::put_if(client, path, &body, ("If-Match", &tag)).refused(412, "precondition_failed");
        client.get("/v1/auth-tokens/alice/gitlab").refused(404, "not_found");
        let long = "x".repeat(65_537);
        for (status, bad) in [
            (400, json!({"refresh_token": "r"})),
            (400, json!({"access_token": ""})),
            (400, json!({"access_token": "a", "refresh_token": ""})),
            (413, json!({"access_token": long})),
            (413, json!({"access_token": "a", "refresh_token": long})),
            (400, json!({"access_token": "a", "access_expires_at": 1})),
        ] {
            assert_eq!(put(client, path, &bad).status, status);
        }
        let longest = "x".repeat(65_536);
        put(client, path, &json!({"access_token": longest, "refresh_token": longest})).expect(200);
        client.delete(path).expect(204);
        client.get(path).refused(404, "not_found");
    });
}

#[test]
fn tokens_of_several_users_go_together() {
    on_both(|client| {
        let name = |user: &str| json!({"user": user, "provider": "p"});
        let write = |user: &str, token: &str| json!({"user": user, "provider": "p", "access_token": token, "refresh_token": "r"});
        let batch =
            json!({"put": [write("u1", "a"), write("u2", "b")], "get": [name("u2"), name("u3"), name("u1")]});
        let done = client.post("/v1/auth-tokens:batch", &batch).expect(200);
        assert_eq!((&done["put"][1]["user"], &done["put"][1]["version"]), (&json!("u2"), &json!(1)));
        assert_eq!(
            (&done["get"][0]["access_token"], &done["get"][2]["access_token"]),
            (&json!("b"), &json!("a"))
        );
        assert_eq!(done["get"][1]["error"]["code"], "not_found");
        let twice = json!({"put": [write("u1", "a"), write("u1", "b")]});
        client.post("/v1/auth-tokens:batch", &twice).refused(400, "invalid_request");
        let bad = json!({"get": [name("..")]});
        client.post("/v1/auth-tokens:batch", &bad).refused(400, "invalid_request");
    });
}

#[test]
fn an_offline_token_is_put_in_the_place_of_another() {
    on_both(|client| {
        let path = "/v1/offline-tokens/alice%2F1";
        client.get(path).refused(404, "not_found");
        put(client, path, &json!({"offline_token": "t1"})).expect(201);
        put(client, path, &json!({"offline_token": "t2"})).expect(200);
        let read = client.get(path).expect(200);
        assert_eq!((&read["offline_token"], &read["version"]), (&json!("t2"), &json!(2)));
        client.get("/v1/offline-tokens/alice").refused(404, "not_found");
        client.delete(path).expect(204);
        client.delete(path).refused(404, "not_found");
        put(client, path, &json!({"offline_token": ""})).refused(400, "invalid_request");
    });
}
