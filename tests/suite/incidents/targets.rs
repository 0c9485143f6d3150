//! Principals, issuers, nodes; levels, dry runs, rights.

use claviger_entity::KeyType;
use claviger_tests::{Client, Cluster, Issuer, Node, issuer::ForeignKey, process};
use serde_json::{Value, json};

use super::{LONG, opened, over, step, verified};
use crate::access::{api_key, put_policy};

fn until_status(client: &Client, path: &str, status: u16) {
    let is = || (client.get(path).status == status).then_some(());
    process::until(LONG, is).unwrap_or_else(|| panic!("{}", client.get(path).text));
}

#[test]
fn a_dry_run_says_what_would_be_reached_and_changes_nothing() {
    let node = Node::start();
    let admin = node.client();
    admin.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let signer = api_key(&admin, &["signer"]);
    let _other = api_key(&admin, &["encrypter"]);
    let pair = admin.post("/v1/tokens", &json!({"key": "k", "refresh": true})).expect(201);
    let secret = json!({"value": "v"}).to_string().into_bytes();
    assert_eq!(admin.send("PUT", "/v1/secrets/a/s", Some(secret), &[]).status, 201);
    let state = || {
        let answer = admin.get("/v1/keys/k");
        (answer.header("x-claviger-epoch").to_owned(), answer.text)
    };
    let before = state();
    for body in [
        json!({"key": "k"}),
        json!({"key": "stores"}),
        json!({"principal": signer.0}),
        json!({"principal": "alice"}),
        json!({"issuer": "https://elsewhere.example"}),
        json!({"all": true}),
    ] {
        let mut body = body;
        body["reason"] = json!("drill");
        body["dry_run"] = json!(true);
        let answer = admin.post("/v1/incidents", &body).expect(200);
        assert!(answer["dry_run"] == true && answer["steps"].as_array().unwrap().len() >= 3, "{answer}");
        let reached = &answer["blast_radius"];
        if body["key"] == "k" {
            assert_eq!(reached["versions"][0]["kid"], pair["kid"], "{reached}");
            assert_eq!(
                (&reached["versions"][0]["standby"], &reached["refresh_tokens"]),
                (&json!(2), &json!(1))
            );
            let named = reached["principals"].as_array().unwrap();
            let of_signer = named.iter().find(|grant| grant["id"] == signer.0.as_str()).unwrap();
            assert!(
                of_signer["permissions"].as_array().unwrap().contains(&json!("token.issue")),
                "{named:?}"
            );
            assert!(named.iter().all(|grant| grant["roles"] != json!(["encrypter"])), "{named:?}");
        }
        if body["key"] == "stores" {
            assert!(reached["stored_rows"].as_u64().unwrap() >= 1, "{reached}");
        }
    }
    assert_eq!(state(), before);
    assert_eq!(admin.get("/v1/incidents").expect(200)["items"], json!([]));
    assert_eq!(verified(&admin, &pair["token"])["valid"], true);
    signer.1.get("/v1/keys").expect(200);
}

#[test]
fn an_api_key_goes_with_those_that_it_has_made() {
    let cluster = Cluster::start(2, &[]);
    let admin = cluster.client(0);
    let (id, stolen) = api_key(&admin, &["admin"]);
    let (child, made) = api_key(&stolen, &["admin"]);
    let (grandchild, further) = api_key(&made, &["signer"]);
    let (_, kept) = api_key(&admin, &["signer"]);
    let reached = json!({"principal": id, "reason": "drill", "dry_run": true});
    let reached = admin.post("/v1/incidents", &reached).expect(200)["blast_radius"].clone();
    let mut dependents: Vec<&str> =
        reached["dependents"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    dependents.sort_unstable();
    let mut expected = [child.as_str(), grandchild.as_str()];
    expected.sort_unstable();
    assert_eq!(dependents, expected, "{reached}");
    let since = "2020-01-01T00:00:00Z";
    let incident = opened(&cluster.client(1), &json!({"principal": id, "reason": "drill", "since": since}));
    assert_eq!(incident["state"], "done", "{incident}");
    let spread = &step(&incident, "spread")["outcome"];
    assert_eq!(spread["acknowledged_by"].as_array().unwrap().len(), 2, "{incident}");
    for node in 0..2 {
        for gone in [&stolen, &made, &further] {
            let gone = cluster.client(node).with_token(gone.token());
            until_status(&gone, "/v1/keys", 401);
        }
        cluster.client(node).with_token(kept.token()).get("/v1/keys").expect(200);
    }
    let nodes = incident["report"]["nodes"].as_array().unwrap();
    let used = nodes.iter().flat_map(|node| node["uses"].as_array().unwrap());
    assert!(used.clone().any(|line| line["operation"] == "api_key.create"), "{incident}");
    admin.post("/v1/incidents", &json!({"principal": id, "reason": "again"})).refused(404, "not_found");
}

/// The last administrator can't be taken away: it is said, and the step is done once there is another one.
#[test]
fn what_can_not_be_done_is_said_and_done_later() {
    let node = Node::start();
    let admin = node.client();
    let id = admin.get("/v1/api-keys").expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    let incident = opened(&admin, &json!({"principal": id, "reason": "drill"}));
    assert_eq!(
        (&incident["state"], &step(&incident, "delete_api_key")["state"]),
        (&json!("failed"), &json!("failed"))
    );
    let path = format!("/v1/incidents/{}", incident["id"].as_str().unwrap());
    let (_, second) = api_key(&admin, &["admin"]);
    // What it has made is left alone, since nobody has said since when.
    let incident = {
        second.post(&format!("{path}/approve"), &json!({})).expect(200);
        over(&second, incident["id"].as_str().unwrap())
    };
    assert_eq!(step(&incident, "delete_api_key")["state"], "done", "{incident}");
    until_status(&admin, "/v1/keys", 401);
    second.get("/v1/keys").expect(200);
}

#[test]
fn a_subject_is_shut_out_until_the_incident_is_closed() {
    let cluster = Cluster::start(2, &[]);
    let admin = cluster.client(0);
    put_policy(&admin, "subjects", "permit (principal is Claviger::Subject, action, resource);");
    let issue = |subject: &str| {
        let body = json!({"audience": "claviger", "subject": subject, "refresh": true});
        admin.post("/v1/tokens", &body).expect(201)
    };
    let (mallory, alice) = (issue("mallory"), issue("alice"));
    let bearer = |node: usize, pair: &Value| cluster.client(node).with_token(pair["token"].as_str());
    for node in 0..2 {
        bearer(node, &mallory).get("/v1/keys").expect(200);
    }
    let incident = opened(&admin, &json!({"principal": "mallory", "reason": "drill"}));
    assert_eq!(incident["shut_out"], json!([{"subject": "mallory"}]), "{incident}");
    for node in 0..2 {
        until_status(&bearer(node, &mallory), "/v1/keys", 401);
        bearer(node, &alice).get("/v1/keys").expect(200);
    }
    admin
        .post("/v1/tokens/refresh", &json!({"refresh_token": mallory["refresh_token"]}))
        .refused(401, "token_revoked");
    // A new token does not help while the incident is open.
    until_status(&bearer(1, &issue("mallory")), "/v1/keys", 401);
    let path = format!("/v1/incidents/{}/close", incident["id"].as_str().unwrap());
    assert_eq!(admin.post(&path, &json!({})).expect(200)["shut_out"], json!([]));
    until_status(&bearer(1, &issue("mallory")), "/v1/keys", 200);
    until_status(&bearer(0, &mallory), "/v1/keys", 401);
    admin.post(&path, &json!({})).refused(409, "key_state_conflict");
}

#[test]
fn an_issuer_is_not_believed_until_the_incident_is_closed() {
    let key = ForeignKey::new(KeyType::Es256, "k1");
    let issuer = Issuer::with(&[&key]);
    let settings = json!({"ext": {"issuer": issuer.url(), "audience": "kms", "roles": {"*": ["verifier"]}}});
    let node = Node::with(&[("CLAVIGER_ISSUERS", &settings.to_string())]);
    let admin = node.client();
    let claims = json!({"iss": issuer.url(), "sub": "s", "aud": "kms", "iat": 1_700_000_000, "exp": 4_000_000_000_u64});
    let bearer = admin.with_token(Some(&key.token(&claims)));
    until_status(&bearer, "/v1/keys", 200);
    let incident = opened(&admin, &json!({"issuer": issuer.url(), "reason": "drill"}));
    bearer.get("/v1/keys").refused(401, "token_revoked");
    let path = format!("/v1/incidents/{}/close", incident["id"].as_str().unwrap());
    admin.post(&path, &json!({})).expect(200);
    until_status(&bearer, "/v1/keys", 200);
    // Our own issuer stands for the keys that make tokens.
    let token = admin.post("/v1/tokens", &json!({"subject": "s"})).expect(201);
    let own = admin.get("/.well-known/openid-configuration").expect(200)["issuer"].clone();
    let incident = opened(&admin, &json!({"issuer": own, "reason": "drill"}));
    assert_eq!(incident["state"], "done", "{incident}");
    assert_eq!(verified(&admin, &token["token"])["valid"], false);
    admin.post("/v1/tokens", &json!({"subject": "s"})).expect(201);
}

#[test]
fn a_node_is_cordoned_until_the_incident_is_closed() {
    let cluster = Cluster::start(2, &[]);
    let (admin, cordoned) = (cluster.client(0), cluster.client(1));
    let public = cordoned.with_token(None);
    admin.post("/v1/incidents", &json!({"node": "node-7", "reason": "drill"})).refused(404, "not_found");
    let incident = opened(&admin, &json!({"node": "node-1", "reason": "drill"}));
    assert_eq!(
        (&incident["state"], &step(&incident, "cluster_key")["state"]),
        (&json!("done"), &json!("skipped"))
    );
    until_status(&public, "/readyz", 503);
    cordoned.get("/v1/keys").refused(503, "stale_node");
    // Strong changes do not wait for it, nor name it.
    admin.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let rotated = admin.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    assert_eq!((&rotated["acknowledged_by"], &rotated["lagging"]), (&json!(["node-0"]), &json!([])));
    let last = json!({"node": "node-0", "reason": "drill"});
    admin.post("/v1/incidents", &last).refused(409, "key_state_conflict");
    let path = format!("/v1/incidents/{}/close", incident["id"].as_str().unwrap());
    admin.post(&path, &json!({})).expect(200);
    until_status(&public, "/readyz", 200);
    cordoned.get("/v1/keys").expect(200);
}

#[test]
fn levels_act_ask_and_watch() {
    let node = Node::start();
    let admin = node.client();
    let (_, operator) = api_key(&admin, &["operator"]);
    let text = "permit (principal in Claviger::Role::\"opener\", action == Claviger::Action::\"incident.open\", resource);";
    put_policy(&admin, "openers", text);
    let (_, opener) = api_key(&admin, &["opener", "operator"]);
    for name in ["asked", "watched"] {
        admin.post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
    }
    let body = |key: &str, level: &str| json!({"key": key, "reason": "odd", "level": level});
    operator.post("/v1/incidents", &body("asked", "low")).refused(403, "forbidden");
    let asked = opener.post("/v1/incidents", &body("asked", "medium")).expect(201);
    let watched = opener.post("/v1/incidents", &body("watched", "low")).expect(201);
    assert_eq!((&asked["state"], &watched["state"]), (&json!("waiting"), &json!("watching")));
    for name in ["asked", "watched"] {
        assert_eq!(admin.get(&format!("/v1/keys/{name}")).expect(200)["primary_version"], 1);
    }
    let path =
        |incident: &Value, what: &str| format!("/v1/incidents/{}/{what}", incident["id"].as_str().unwrap());
    opener.post(&path(&asked, "approve"), &json!({})).refused(403, "forbidden");
    opener.post(&path(&watched, "close"), &json!({})).refused(403, "forbidden");
    admin.post(&path(&asked, "approve"), &json!({})).expect(200);
    let asked = over(&operator, asked["id"].as_str().unwrap());
    assert_eq!((&asked["state"], &asked["approved_by"]), (&json!("done"), &json!("bootstrap-admin")));
    assert_eq!(admin.get("/v1/keys/asked").expect(200)["primary_version"], 2);
    admin.post(&path(&watched, "close"), &json!({})).expect(200);
    admin.post(&path(&watched, "approve"), &json!({})).refused(409, "key_state_conflict");
    admin.post(&path(&asked, "approve"), &json!({})).refused(409, "key_state_conflict");
    let nowhere = "/v1/incidents/0197f000-0000-7000-8000-00000000abcd";
    admin.get(nowhere).refused(404, "not_found");
    admin.post(&format!("{nowhere}/approve"), &json!({})).refused(404, "not_found");
    // Bodies that name nothing, too much, or nonsense.
    for wrong in [
        json!({"reason": "r"}),
        json!({"key": "asked", "node": "n", "reason": "r"}),
        json!({"key": "asked"}),
        json!({"key": "asked", "reason": " "}),
        json!({"all": false, "reason": "r"}),
        json!({"principal": "", "reason": "r"}),
        json!({"principal": "clv_0197f00000000000000000000000abcd_S3cret", "reason": "r"}),
        json!({"principal": "eyJhbGciOi.eyJzdWIi.sig", "reason": "r"}),
        json!({"principal": "a\u{0}b", "reason": "r"}),
        json!({"key": "asked", "reason": "r", "level": "higher"}),
    ] {
        admin.post("/v1/incidents", &wrong).refused(400, "invalid_request");
    }
    admin.post("/v1/incidents", &json!({"key": "none", "reason": "r"})).refused(404, "key_not_found");
    let listed = admin.get("/v1/incidents?limit=1").expect(200);
    assert!(listed["items"][0]["id"] == watched["id"] && listed["next_cursor"].is_string(), "{listed}");
}

/// A retry opens nothing twice, and everything that was done is on record.
#[test]
fn a_retry_opens_one_incident() {
    let node = Node::start();
    let admin = node.client();
    admin.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let body = json!({"key": "k", "reason": "drill"}).to_string().into_bytes();
    let open =
        || admin.send("POST", "/v1/incidents", Some(body.clone()), &[("Idempotency-Key", "one")]).expect(201);
    let first = open();
    assert_eq!(open()["id"], first["id"]);
    over(&admin, first["id"].as_str().unwrap());
    assert_eq!(admin.get("/v1/incidents").expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(admin.get("/v1/keys/k").expect(200)["primary_version"], 2);
    for (event, least) in [("incident_opened", 1), ("incident_step", 2), ("incident_finished", 1)] {
        let found = admin.get(&format!("/v1/audit?event={event}")).expect(200);
        let found =
            found["items"].as_array().unwrap().iter().filter(|item| item["incident"] == first["id"]).count();
        assert!(found >= least, "{event}: {found}");
    }
    admin.post("/v1/audit/verify", &json!({})).expect(200);
}
