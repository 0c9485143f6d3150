//! Grants on some keys only, and everything outside of them.

use claviger_tests::{Client, Node};
use serde_json::{Value, json};

use super::{api_key, put_policy};

/// A node with keys inside and outside of a grant, and a client that holds the grant.
fn scoped() -> (Node, Client, Client) {
    let node = Node::start();
    let admin = node.client();
    for name in ["shop-orders", "shop-tokens", "bank-orders", "bank-tokens", "Shop-orders"] {
        let key_type = if name.ends_with("tokens") { "es256" } else { "aes256-gcm" };
        admin.post("/v1/keys", &json!({"name": name, "type": key_type})).expect(201);
    }
    put_policy(
        &admin,
        "shop",
        "permit (principal in Claviger::Role::\"shop\", action in [Claviger::Action::\"encrypting\",
           Claviger::Action::\"signing\", Claviger::Action::\"operating\"], resource)
         when { resource.name like \"shop-*\" };",
    );
    let (_, shop) = api_key(&admin, &["shop"]);
    (node, admin, shop)
}

/// P8: what is outside of a grant is not there, by any spelling.
#[test]
fn p8_nobody_sees_a_key_outside_their_grant() {
    let (node, admin, shop) = scoped();
    let names = |client: &Client| -> Vec<String> {
        let page = client.get("/v1/keys").expect(200);
        page["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&shop), ["shop-orders", "shop-tokens"]);
    assert!(names(&admin).len() >= 5);
    // Pages are filled with what is seen, so that their number tells nothing either.
    let first = shop.get("/v1/keys?limit=1").expect(200);
    let second =
        shop.get(&format!("/v1/keys?limit=1&cursor={}", first["next_cursor"].as_str().unwrap())).expect(200);
    assert_eq!((&second["items"][0]["name"], &second["next_cursor"]), (&json!("shop-tokens"), &Value::Null));

    let ciphertext = admin.post("/v1/keys/bank-orders/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    let missing = without_id(shop.get("/v1/keys/no-such-key").refused(404, "key_not_found"));
    for hidden in [
        "bank-orders",
        "Shop-orders",
        "shop-orders%2f..%2fbank-orders",
        "%62ank-orders",
        "bank%2Dorders",
        "./bank-orders",
        "shop-orders/../bank-orders",
        "shop-orders%00",
        "bank-orders%20",
        "bank-orders;shop-orders",
        "SHOP-ORDERS",
        "shop-orders%2Fbank-orders",
        "~token-hash",
        "%7Etoken-hash",
    ] {
        for (method, operation, body) in [
            ("GET", "", json!({})),
            ("POST", "/decrypt", json!({"ciphertext": ciphertext["ciphertext"]})),
            ("POST", "/decrypt", json!("not even an object")),
            ("POST", "/rotate", json!({"force": true, "reason": "x"})),
            ("GET", "/versions", json!({})),
        ] {
            let body = body.to_string().into_bytes();
            let answer = shop.send(method, &format!("/v1/keys/{hidden}{operation}"), Some(body), &[]);
            let (status, text) = (answer.status, answer.text.clone());
            assert_eq!(status, 404, "{method} {hidden}{operation}: {text}");
            if answer.json()["code"] == "key_not_found" {
                assert_eq!(without_id(answer.json()), missing, "{hidden}");
            }
        }
    }
    // Nor through another key's path, nor by what a token or ciphertext names.
    let through = shop.post("/v1/keys/shop-orders/decrypt", &json!({"ciphertext": ciphertext["ciphertext"]}));
    through.refused(400, "decryption_failed");
    for key in ["bank-tokens", "no-such-key"] {
        shop.post("/v1/tokens", &json!({"key": key})).refused(404, "key_not_found");
    }
    shop.post("/v1/tokens", &json!({})).refused(404, "key_not_found");
    let token = admin.post("/v1/tokens", &json!({"key": "bank-tokens"})).expect(201)["token"].clone();
    let verify = |client: &Client, body: Value| client.post("/v1/tokens/verify", &body).expect(200);
    let unknown = verify(&shop, json!({"token": forge(&token)}));
    assert_eq!(verify(&shop, json!({"token": token})), unknown);
    assert_eq!(unknown["code"], "key_not_found");
    admin.post("/v1/keys/bank-tokens/versions/1/suspend", &json!({"reason": "drill"})).expect(200);
    assert_eq!(verify(&shop, json!({"token": token})), unknown, "a hidden key's state is hidden too");
    assert_eq!(verify(&admin, json!({"token": token}))["code"], "key_not_usable");
    // The record says what the caller was not told.
    assert!(node.records().iter().any(|line| line["status"] == 404
        && line["event"] == "access_denied"
        && line["outcome"] == "forbidden"
        && line["actor"] == "test"
        && line["key"] == "bank-orders"));
}

#[test]
fn inside_of_a_grant_everything_goes_on() {
    let (_node, _, shop) = scoped();
    shop.get("/v1/keys/shop-orders").expect(200);
    shop.post("/v1/keys/shop-orders/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    shop.post("/v1/keys/shop-orders/export", &json!({"recipient": "x"})).refused(403, "forbidden");
    let token = shop.post("/v1/tokens", &json!({"key": "shop-tokens"})).expect(201)["token"].clone();
    assert_eq!(shop.post("/v1/tokens/verify", &json!({"token": token})).expect(200)["valid"], true);
    shop.post("/v1/keys", &json!({"name": "shop-new", "type": "aes256-gcm"})).expect(201);
    shop.post("/v1/keys", &json!({"name": "bank-new", "type": "aes256-gcm"})).refused(403, "forbidden");
    shop.post("/v1/keys", &json!({"name": "bank-orders", "type": "aes256-gcm"})).refused(403, "forbidden");
    let secret = json!({"name": "bank-old", "type": "hs256", "legacy_secret": "0123456789012345678901234567890123456789"});
    shop.post("/v1/keys/import", &secret).refused(403, "forbidden");
}

#[test]
fn labels_decide_and_decisions_follow_them_at_once() {
    let node = Node::start();
    let admin = node.client();
    let key = |labels: Value| admin.patch("/v1/keys/k", &json!({"labels": labels})).expect(200);
    admin
        .post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm", "labels": {"team": "blue"}}))
        .expect(201);
    put_policy(
        &admin,
        "blue",
        "permit (principal in Claviger::Role::\"blue\", action == Claviger::Action::\"key.encrypt\", resource)
         when { resource.hasTag(\"team\") && resource.getTag(\"team\") == \"blue\" };",
    );
    let (_, blue) = api_key(&admin, &["blue"]);
    let encrypt = || blue.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGk="}));
    encrypt().expect(200);
    key(json!({"team": "red"}));
    encrypt().refused(404, "key_not_found");
    key(json!({"team": "blue"}));
    encrypt().expect(200);
    admin.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    encrypt().expect(200);
    assert_eq!(admin.delete("/v1/policies/blue").status, 204);
    encrypt().refused(404, "key_not_found");
}

#[test]
fn policies_are_judged_before_they_are_taken() {
    let node = Node::start();
    let admin = node.client();
    let put = |name: &str, body: &str, headers: &[(&str, &str)]| {
        admin.send("PUT", &format!("/v1/policies/{name}"), Some(body.as_bytes().to_vec()), headers)
    };
    let good = "permit (principal in Claviger::Role::\"r\", action, resource);";
    let json = json!({"policy": good, "description": "why"}).to_string();
    let made = put("p", &json, &[]);
    let first = made.header("etag").to_owned();
    let made = made.expect(201);
    assert_eq!((&made["policy"], &made["description"]), (&json!(good), &json!("why")));
    let second = put("p", good, &[("If-Match", first.as_str())]).header("etag").to_owned();
    assert!(!second.is_empty() && second != first);
    put("p", good, &[("If-Match", first.as_str())]).refused(412, "precondition_failed");
    put("q", good, &[("If-Match", first.as_str())]).refused(412, "precondition_failed");
    // One that is written anew after it was removed is another.
    let delete = |tag: &str| admin.send("DELETE", "/v1/policies/p", None, &[("If-Match", tag)]);
    delete(&first).refused(412, "precondition_failed");
    assert_eq!(delete(&second).status, 204);
    let third = put("p", good, &[]).header("etag").to_owned();
    assert!(third != first && third != second);
    for (bad, said) in [
        ("", "no statement"),
        ("{}", "policy"),
        ("{\"policy\": 1}", "wrong form"),
        ("{\"policy\": \"x\", \"other\": 1}", "unknown member"),
        ("permit (principal, action, resource)", "line 1"),
        ("permit (principal, action == Claviger::Action::\"key.fly\", resource);", "schema"),
        ("permit (principal, action, resource) when { resource.material == \"x\" };", "schema"),
        ("permit (principal == ?principal, action, resource);", "template"),
    ] {
        let problem = put("bad", bad, &[]).refused(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{bad}: {problem}");
    }
    put("bad", &format!("// {}\n{good}", "x".repeat(70_000)), &[]).refused(400, "invalid_request");
    put("claviger.admin", good, &[]).refused(400, "invalid_request");
    put("..%2Fx", good, &[]).refused(404, "not_found");
    admin.get("/v1/policies/bad").refused(404, "not_found");
    admin.delete("/v1/policies/bad").refused(404, "not_found");
    let listed = admin.get("/v1/policies").expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

/// A forbid wins over every grant, also over an administrator's; but policies can always be mended.
#[test]
fn a_forbid_can_be_taken_back_by_an_administrator() {
    let node = Node::start();
    let admin = node.client();
    put_policy(&admin, "freeze", "forbid (principal, action, resource);");
    assert_eq!(admin.get("/v1/keys").expect(200)["items"], json!([]));
    admin.post("/v1/random", &json!({"bytes": 1})).refused(403, "forbidden");
    admin.get("/v1/policies").expect(200);
    assert_eq!(admin.delete("/v1/policies/freeze").status, 204);
    admin.post("/v1/random", &json!({"bytes": 1})).expect(200);
}

fn without_id(mut problem: Value) -> Value {
    problem.as_object_mut().unwrap().remove("request_id");
    problem
}

/// The token under a kid that nobody has.
fn forge(token: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let (_, rest) = token.as_str().unwrap().split_once('.').unwrap();
    let header = json!({"alg": "ES256", "kid": "nobody", "typ": "JWT"});
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}
