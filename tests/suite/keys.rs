//! Keys: creation, listing, settings, rotation, deletion.

use claviger_tests::{Client, Node, process};
use serde_json::json;

#[test]
fn every_type_is_created_with_a_primary_and_a_standby() {
    let node = Node::start();
    let client = node.client();
    for (key_type, usage, tier) in [
        ("hs256", "token", "signing"),
        ("hs384", "token", "signing"),
        ("hs512", "token", "signing"),
        ("rs256", "token", "signing"),
        ("ps512", "token", "signing"),
        ("es256", "token", "signing"),
        ("es384", "token", "signing"),
        ("eddsa", "token", "signing"),
        ("aes256-gcm", "encrypt", "data"),
        ("fernet", "encrypt", "data"),
        ("hmac-sha256", "mac", "session"),
    ] {
        let key = client.post("/v1/keys", &json!({"name": key_type, "type": key_type})).expect(201);
        assert_eq!((key["usage"].as_str(), key["tier"].as_str()), (Some(usage), Some(tier)));
        assert_eq!(key["primary_version"], 1);
        assert_eq!(
            (&key["versions"][0]["state"], &key["versions"][1]["state"]),
            (&json!("pre_activation"), &json!("active"))
        );
        assert_eq!(client.get(&format!("/v1/keys/{key_type}")).expect(200), key);
        assert!(key["next_rotation_at"].is_string());
    }
}

#[test]
fn what_a_key_can_not_be_is_refused() {
    let node = Node::start();
    let client = node.client();
    let refused = [
        json!({"type": "es256"}),
        json!({"name": "a"}),
        json!({"name": "a", "type": "ES256"}),
        json!({"name": "a/b", "type": "es256"}),
        json!({"name": ".a", "type": "es256"}),
        json!({"name": "import", "type": "es256"}),
        json!({"name": "a", "type": "es256", "nonsense": 1}),
        json!({"name": "a", "type": "es256", "bits": 2048}),
        json!({"name": "a", "type": "rs256", "bits": 1024}),
        json!({"name": "a", "type": "es256", "usage": "encrypt"}),
        json!({"name": "a", "type": "hs256", "usage": "sign"}),
        json!({"name": "a", "type": "es256", "rotation": {"every": "1h"}}),
        json!({"name": "a", "type": "es256", "rotation": {"lead": "19m"}}),
        json!({"name": "a", "type": "es256", "rotation": {"every": "90d", "cron": "0 3 1 * *"}}),
        json!({"name": "a", "type": "es256", "rotation": {"cron": "* * * * * *"}}),
        json!({"name": "a", "type": "es256", "rotation": {"every": "soon"}}),
        json!({"name": "a", "type": "hs256", "temporary": {"uses": 0}}),
        json!({"name": "a", "type": "hs256", "temporary": {}, "rotation": {"every": "1d"}}),
        json!({"name": "a", "type": "es256", "labels": {"": "x"}}),
        json!([]),
    ];
    for body in refused {
        client.post("/v1/keys", &body).refused(400, "invalid_request");
    }
    client
        .post("/v1/keys", &json!({"name": "a", "type": "es256", "rotation": {"every": 7_776_000}}))
        .expect(201);
    client.post("/v1/keys", &json!({"name": "a", "type": "es256"})).refused(409, "key_exists");
}

#[test]
fn lists_are_paged_and_filtered() {
    let node = Node::start();
    let client = node.client();
    for index in 0..7 {
        let body = json!({"name": format!("k{index}"), "type": "hs256", "labels": {"team": if index < 3 { "a" } else { "b" }}});
        client.post("/v1/keys", &body).expect(201);
    }
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/v1/keys?limit=3{cursor}")).expect(200);
        names.extend(
            page["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let wanted =
        ["default-encryption", "default-signing", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "stores"];
    assert_eq!(names, wanted);
    let count =
        |query: &str| client.get(&format!("/v1/keys?{query}")).expect(200)["items"].as_array().unwrap().len();
    assert_eq!((count("label=team"), count("label=team%3Da"), count("tier=data")), (7, 3, 2));
    for query in ["limit=0", "limit=1001", "cursor=!!", "tier=x", "nonsense=1"] {
        client.get(&format!("/v1/keys?{query}")).refused(400, "invalid_request");
    }
}

#[test]
fn settings_change_only_for_who_has_seen_the_latest() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let etag = client.get("/v1/keys/k").header("etag").to_owned();
    let patch = |body: serde_json::Value, tag: &str| {
        client.send("PATCH", "/v1/keys/k", Some(body.to_string().into_bytes()), &[("If-Match", tag)])
    };
    let changed = patch(json!({"labels": {"a": "1"}, "rotation": {"every": "10d"}}), &etag);
    assert_ne!(changed.header("etag"), etag);
    let changed = changed.expect(200);
    assert_eq!((&changed["labels"]["a"], &changed["rotation"]["every"]), (&json!("1"), &json!("10d")));
    patch(json!({"description": "late"}), &etag).refused(412, "precondition_failed");
    let merged = patch(json!({"labels": {"a": null, "b": "2"}}), "*").expect(200);
    assert_eq!(merged["labels"], json!({"b": "2"}));
    client.patch("/v1/keys/k", &json!({"name": "x"})).refused(400, "invalid_request");
    client.patch("/v1/keys/k", &json!({"min_decryption_version": 9})).refused(400, "invalid_request");
    // To remove what there never was is a mistake too.
    for unknown in [json!({"": null}), json!({"rotation": {"evry": null}}), json!({"claims": {"ttl": null}})]
    {
        client.patch("/v1/keys/k", &unknown).refused(400, "invalid_request");
    }
    client.patch("/v1/keys/none", &json!({})).refused(404, "key_not_found");
}

#[test]
fn rotation_keeps_its_lead_unless_forced() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let problem = client.post("/v1/keys/k/rotate", &json!({})).refused(409, "standby_too_young");
    assert!(problem["earliest_activation"].is_string());
    client.post("/v1/keys/k/rotate", &json!({"force": true})).refused(400, "invalid_request");
    let rotated = client.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    assert_eq!(rotated["version"], 2);
    assert_eq!(rotated["lagging"], json!([]));
    assert_eq!(rotated["acknowledged_by"].as_array().unwrap().len(), 1);
    for member in ["kid", "effective_by"] {
        assert!(rotated[member].is_string());
    }
    assert!(rotated["epoch"].is_u64() && rotated["took_ms"].is_u64());
    let versions = client.get("/v1/keys/k/versions?limit=2").expect(200);
    assert_eq!(versions["items"][0]["state"], "pre_activation");
    assert_eq!(versions["items"][1]["kid"], rotated["kid"]);
    let rest = client
        .get(&format!("/v1/keys/k/versions?cursor={}", versions["next_cursor"].as_str().unwrap()))
        .expect(200);
    assert_eq!(rest["items"][0]["state"], "deactivated");
    assert!(rest["items"][0]["verify_until"].is_string() && rest["next_cursor"].is_null());
}

#[test]
fn a_key_being_deleted_verifies_but_makes_nothing_new() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    client.delete("/v1/keys/k").refused(409, "key_state_conflict");
    client.patch("/v1/keys/k", &json!({"deletion_allowed": true})).expect(200);
    let token = issue(&client, "k");
    client.delete("/v1/keys/k?after=nonsense").refused(400, "invalid_request");
    assert!(client.delete("/v1/keys/k?after=1h").expect(200)["deletion_at"].is_string());
    client.post("/v1/tokens", &json!({"key": "k"})).refused(409, "key_state_conflict");
    assert_eq!(client.post("/v1/tokens/verify", &json!({"token": token})).expect(200)["valid"], true);
    client
        .post("/v1/keys/k/rotate", &json!({"force": true, "reason": "x"}))
        .refused(409, "key_state_conflict");
    client.post("/v1/keys/k/restore", &json!({})).expect(200);
    client.post("/v1/keys/k/restore", &json!({})).refused(409, "key_state_conflict");
    issue(&client, "k");
    client.delete("/v1/keys/k?after=0").expect(200);
    wait_until(|| client.get("/v1/keys/k").status == 404);
    assert_eq!(
        client.post("/v1/tokens/verify", &json!({"token": token})).expect(200)["code"],
        "key_not_found"
    );
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).refused(409, "key_exists");
}

#[test]
fn the_schedule_rotates_in_real_time() {
    let node = Node::start();
    let client = node.client();
    let body = json!({"name": "fast", "type": "aes256-gcm", "rotation": {"every": "10s", "lead": "5s"}});
    client.post("/v1/keys", &body).expect(201);
    wait_until(|| client.get("/v1/keys/fast").expect(200)["primary_version"] == 2);
    wait_until(|| {
        node.records().iter().any(|record| {
            record["event"] == "key_rotated"
                && record["actor"] == "system"
                && record["key"] == "fast"
                && record["version"] == 2
        })
    });
}

#[test]
fn public_halves_and_sealed_export() {
    use std::{io::Read as _, str::FromStr as _};
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "s", "type": "es256", "usage": "sign"})).expect(201);
    client.post("/v1/keys", &json!({"name": "e", "type": "aes256-gcm", "exportable": true})).expect(201);
    let set = client.get("/v1/keys/s/jwks.json").expect(200);
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    let all = client.get("/.well-known/jwks.json").expect(200);
    assert!(all["keys"].as_array().unwrap().iter().all(|key| key["kid"] != set["keys"][0]["kid"]));
    assert!(client.get("/v1/keys/s/versions/1/public.pem").text.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    client.get("/v1/keys/e/versions/1/public.pem").refused(400, "unsupported_operation");
    client.get("/v1/keys/s/versions/9/public.pem").refused(404, "version_not_found");

    let identity = age::x25519::Identity::from_str(
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
    )
    .ok();
    let identity = identity.unwrap_or_else(age::x25519::Identity::generate);
    let recipient = identity.to_public().to_string();
    client.post("/v1/keys/s/export", &json!({"recipient": recipient})).refused(400, "unsupported_operation");
    client.post("/v1/keys/e/export", &json!({"recipient": "age1nonsense"})).refused(400, "invalid_request");
    let exported = client.post("/v1/keys/e/export", &json!({"recipient": recipient})).expect(200);
    let armored = age::armor::ArmoredReader::new(exported["ciphertext"].as_str().unwrap().as_bytes());
    let mut opened = Vec::new();
    let decryptor = age::Decryptor::new(armored).unwrap();
    decryptor
        .decrypt(std::iter::once::<&dyn age::Identity>(&identity))
        .unwrap()
        .read_to_end(&mut opened)
        .unwrap();
    assert_eq!(opened.len(), 32);
}

fn issue(client: &Client, key: &str) -> String {
    client.post("/v1/tokens", &json!({"key": key})).expect(201)["token"].as_str().unwrap().to_owned()
}

/// Asks until it is so, for 30 s at most.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let so = process::until(std::time::Duration::from_secs(30), || condition().then_some(()));
    assert!(so.is_some(), "it did not happen within 30 s");
}
