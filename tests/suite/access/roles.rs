//! Every route × role, held against the checked-in table.

use std::collections::{BTreeMap, BTreeSet};

use claviger_tests::{Client, Gate, Issuer, Node, issuer::Reply};
use serde_json::{Value, json};

use super::api_key;
use crate::alerts::keeping::{DEAF, SOON, some_alert, some_message};

const TABLE: &str = include_str!("table.txt");

/// Method, path, and a verdict a role.
type Row = (&'static str, &'static str, Vec<&'static str>);

/// Roles and rows.
fn table() -> (Vec<&'static str>, Vec<Row>) {
    let mut lines = TABLE.lines();
    lines.next();
    let roles = lines.next().unwrap().split_whitespace().skip(3).collect();
    let rows = lines.map(|line| {
        let mut words = line.split_whitespace();
        (words.next().unwrap(), words.next().unwrap(), words.collect())
    });
    (roles, rows.collect())
}

/// P8: the answer to every role on every route is the one in the table; the table has every route.
#[test]
fn p8_every_role_gets_what_the_table_says() {
    // The master may be rotated once.
    let masters = format!("another-master-9876543210-zyxwvutsrqponml\n{}", claviger_tests::node::MASTER);
    let folder = Node::start().into_folder();
    let issuer = Issuer::start();
    issuer.reply("/token", Reply::Json(json!({"access_token": "a"})));
    issuer.reply("/introspect", Reply::Json(json!({"active": true})));
    let providers = json!({"idp": {
        "token_endpoint": issuer.at("/token"), "introspection_endpoint": issuer.at("/introspect"), "client_id": "us", "client_secret": "s",
    }});
    let providers = providers.to_string();
    let mut environment =
        vec![("CLAVIGER_SEAL__MASTER_KEY", masters.as_str()), ("CLAVIGER_PROVIDERS", providers.as_str())];
    environment.extend(SOON);
    environment.push(DEAF);
    let node = Node::within(folder, &environment);
    let admin = node.client();
    let gate = crate::devices::gate(&node);
    // It opens the ring before the master is another one.
    let _open = gate.request([1; 32], &[]).unwrap();
    let (roles, rows) = table();
    let clients: BTreeMap<&str, Client> = roles
        .iter()
        .map(|role| {
            (*role, api_key(&admin, if *role == "nobody" { &[] } else { std::slice::from_ref(role) }).1)
        })
        .collect();
    let mut asked = 0;
    for (method, path, verdicts) in &rows {
        assert_eq!(verdicts.len(), roles.len(), "{method} {path}");
        for (role, verdict) in roles.iter().zip(verdicts) {
            // Each has objects of its own, so that nobody's success stands in another's way.
            let (real, body) = match path.strip_prefix("/v1/devices/") {
                Some(rest) => {
                    let body = (*method == "POST").then(|| json!({}));
                    (with_a_device(&admin, &gate, rest, path, asked), body)
                }
                None => prepared(&admin, method, path, asked),
            };
            let body = body.map(|body| body.to_string().into_bytes());
            let answer = clients[role].send(method, &real, body, &[]);
            let place = format!("{role}: {method} {real}: {}", answer.text);
            match *verdict {
                "yes" => assert!((200..300).contains(&answer.status), "{place}"),
                "no" => drop(answer.refused(403, "forbidden")),
                "hid" => {
                    assert_eq!(answer.status, 404, "{place}");
                    let code = answer.json()["code"].clone();
                    assert!(code == "key_not_found" || code == "not_found", "{place}");
                }
                other => panic!("{other} is no verdict"),
            }
            asked += 1;
        }
    }
    let document = admin.get("/openapi.json").expect(200);
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        // Whom a session lets in is judged within it.
        .filter(|(path, _)| path.starts_with("/v1/") && *path != "/v1/ws" || *path == "/metrics")
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let in_table: BTreeSet<(String, String)> =
        rows.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(documented, in_table);
    assert_eq!(asked, rows.len() * roles.len());
}

/// A device that waits, or one that was approved; the path that names it.
fn with_a_device(admin: &Client, gate: &Gate, rest: &str, path: &str, number: usize) -> String {
    if !path.contains("{id}") {
        return path.to_owned();
    }
    let mut key = [5; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    let address = format!("192.0.2.{}", number % 100);
    let pending =
        gate.request_from(key, claviger_entity::DeviceRole::Operator, &[], ("test", &address)).unwrap();
    let pending = pending.request_id.to_string();
    if rest.starts_with("requests/") {
        return path.replace("{id}", &pending);
    }
    let device = crate::devices::approve(admin, &pending, &json!({})).expect(200);
    path.replace("{id}", device["id"].as_str().unwrap()).replace("{role}", "operator")
}

fn tested_backup(admin: &Client) -> Value {
    let deployment = admin.get("/v1/report").expect(200)["deployment"].clone();
    json!({"deployment": deployment, "epoch": 1, "made_at": "2026-01-01T00:00:00Z"})
}

/// Objects for one request, made by the administrator; the path and body that use them.
fn prepared(admin: &Client, method: &str, path: &str, number: usize) -> (String, Option<Value>) {
    let key = format!("k{number}");
    let reason = json!({"reason": "drill"});
    if let Some(rest) = path.strip_prefix("/v1/keys/{name}") {
        let body = on_a_key(admin, method, rest, &key);
        return (path.replace("{name}", &key).replace("{version}", "1"), body.or(Some(reason)));
    }
    if ["/v1/secrets", "/v1/auth-tokens", "/v1/offline-tokens"].iter().any(|store| path.starts_with(store)) {
        return in_a_store(admin, method, path, &key);
    }
    match (method, path) {
        // Without end otherwise.
        ("GET", "/v1/events") => ("/v1/events?follow=false".to_owned(), None),
        ("POST", "/v1/audit/hash") => (path.to_owned(), Some(json!({"value": "s"}))),
        ("POST", "/v1/backups") => {
            let recipient = age::x25519::Identity::generate().to_public().to_string();
            (path.to_owned(), Some(json!({"recipient": recipient})))
        }
        ("POST", "/v1/backups/checks") => (path.to_owned(), Some(tested_backup(admin))),
        ("POST", "/v1/alerts/silences") => {
            (path.to_owned(), Some(json!({"subject": key, "for": "1h", "reason": "drill"})))
        }
        ("DELETE", "/v1/alerts/silences/{id}") => {
            let body = json!({"subject": key, "for": "1h", "reason": "drill"});
            let id = admin.post("/v1/alerts/silences", &body).expect(201)["id"].clone();
            (path.replace("{id}", id.as_str().unwrap()), None)
        }
        ("POST", "/v1/alerts/deliveries/{id}/retry") => (path.replace("{id}", &some_message(admin)), None),
        (_, path) if path.starts_with("/v1/alerts/{id}") => {
            (path.replace("{id}", &some_alert(admin)), (method == "POST").then(|| json!({})))
        }
        ("POST", "/v1/incidents") => (path.to_owned(), Some(json!({"principal": key, "reason": "drill"}))),
        (_, path) if path.starts_with("/v1/incidents/{id}") => {
            let body = json!({"principal": key, "reason": "drill", "level": "medium"});
            let id = admin.post("/v1/incidents", &body).expect(201)["id"].clone();
            (path.replace("{id}", id.as_str().unwrap()), (method == "POST").then(|| json!({})))
        }
        ("POST", "/v1/scan") => (path.to_owned(), Some(json!({"candidates": ["clv_x"]}))),
        ("POST", "/v1/random") => (path.to_owned(), Some(json!({"bytes": 8}))),
        ("POST", "/v1/tokens") => (path.to_owned(), Some(json!({"subject": "s"}))),
        ("POST", "/v1/tokens/verify") => {
            let token = admin.post("/v1/tokens", &json!({})).expect(201)["token"].clone();
            (path.to_owned(), Some(json!({"token": token})))
        }
        ("POST", "/v1/tokens/introspect" | "/v1/tokens/revoke") => {
            let token = admin.post("/v1/tokens", &json!({})).expect(201)["token"].clone();
            (path.to_owned(), Some(json!({"token": token})))
        }
        ("POST", "/v1/tokens/refresh") => {
            let pair = admin.post("/v1/tokens", &json!({"refresh": true})).expect(201);
            (path.to_owned(), Some(json!({"refresh_token": pair["refresh_token"]})))
        }
        ("POST", "/v1/keys") => (path.to_owned(), Some(json!({"name": key, "type": "aes256-gcm"}))),
        ("POST", "/v1/keys/import") => {
            let material = admin.post("/v1/random", &json!({"bytes": 32})).expect(200)["random"].clone();
            (path.to_owned(), Some(json!({"name": key, "type": "aes256-gcm", "material": material})))
        }
        ("POST", "/v1/api-keys") => (path.to_owned(), Some(json!({"name": "another", "roles": []}))),
        ("PUT", "/v1/policies/{name}") => (
            path.replace("{name}", &key),
            Some(json!({"policy": "permit (principal in Claviger::Role::\"x\", action, resource);"})),
        ),
        (_, path) if path.contains("/policies/{name}") => {
            let text = "permit (principal in Claviger::Role::\"x\", action, resource);";
            super::put_policy(admin, &key, text);
            (path.replace("{name}", &key), None)
        }
        (_, path) if path.contains("{id}") => (path.replace("{id}", &api_key(admin, &[]).0), None),
        _ => (path.to_owned(), None),
    }
}

/// Something stored for the owner `test`, as all these API keys are called.
fn in_a_store(admin: &Client, method: &str, path: &str, name: &str) -> (String, Option<Value>) {
    let of_test = |path: &str| {
        path.replace("{owner}", "test")
            .replace("{user}", "test")
            .replace("{name}", name)
            .replace("{provider}", name)
    };
    let body = if path.starts_with("/v1/secrets") {
        json!({"value": "s"})
    } else if path.starts_with("/v1/auth-tokens") {
        json!({"access_token": "a", "refresh_token": "r"})
    } else {
        json!({"offline_token": "o"})
    };
    let real = of_test(path);
    match (method, path) {
        ("POST", "/v1/secrets/{owner}:batch") => (real, Some(json!({"put": [{"name": name, "value": "s"}]}))),
        ("POST", path) if path.ends_with("/exchange") => (
            path.replace("{user}", "test").replace("{provider}", "idp"),
            Some(json!({"code": "c", "redirect_uri": "https://app.example"})),
        ),
        ("POST", path) if path.ends_with("/verify") => {
            (path.replace("{user}", "test").replace("{provider}", "idp"), Some(json!({"token": "t"})))
        }
        ("POST", path) if path.ends_with("/logout") => {
            let bare = of_test(path.trim_end_matches("/logout"));
            let put = admin.send("PUT", &bare, Some(body.to_string().into_bytes()), &[]);
            assert!(matches!(put.status, 200 | 201), "{}", put.text);
            (real, None)
        }
        ("POST", _) => {
            let put = json!({"user": "test", "provider": name, "access_token": "a"});
            (real, Some(json!({"put": [put]})))
        }
        ("PUT", _) => (real, Some(body)),
        _ => {
            let bare = of_test(path.trim_end_matches("/versions"));
            let bare = if path == "/v1/secrets/{owner}" { format!("{bare}/{name}") } else { bare };
            let put = admin.send("PUT", &bare, Some(body.to_string().into_bytes()), &[]);
            assert!(matches!(put.status, 200 | 201), "{}", put.text);
            (real, None)
        }
    }
}

/// A key for what `rest` of the path does with it.
fn on_a_key(admin: &Client, method: &str, rest: &str, key: &str) -> Option<Value> {
    let usage = match rest {
        "/jwks.json" | "/versions/{version}/public.pem" | "/sign" | "/verify" => "sign",
        "/hmac" => "mac",
        _ => "encrypt",
    };
    let key_type =
        BTreeMap::from([("sign", "es256"), ("mac", "hmac-sha256"), ("encrypt", "aes256-gcm")])[usage];
    let spec = json!({
        "name": key, "type": key_type, "usage": usage, "exportable": true, "deletion_allowed": true,
    });
    admin.post("/v1/keys", &spec).expect(201);
    let post =
        |operation: &str, body: Value| admin.post(&format!("/v1/keys/{key}/{operation}"), &body).expect(200);
    match (method, rest) {
        ("PATCH", "") => Some(json!({"description": "d"})),
        (_, "/restore") => {
            admin.delete(&format!("/v1/keys/{key}")).expect(200);
            Some(json!({}))
        }
        (_, "/rotate") => Some(json!({"force": true, "reason": "drill"})),
        (_, "/export") => {
            let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
            Some(json!({"recipient": recipient}))
        }
        (_, "/versions/{version}/resume") => {
            post("versions/1/suspend", json!({"reason": "drill"}));
            None
        }
        (_, "/versions/{version}/destroy") => {
            post("rotate", json!({"force": true, "reason": "drill"}));
            None
        }
        (_, "/encrypt") => Some(json!({"plaintext": "aGk="})),
        (_, "/decrypt" | "/rewrap") => {
            let ciphertext = post("encrypt", json!({"plaintext": "aGk="}))["ciphertext"].clone();
            Some(json!({"ciphertext": ciphertext}))
        }
        (_, "/datakey") => Some(json!({})),
        (_, "/sign" | "/hmac") => Some(json!({"input": "aGk="})),
        (_, "/verify") => Some(json!({"input": "aGk=", "signature": "aGk="})),
        _ => None,
    }
}
