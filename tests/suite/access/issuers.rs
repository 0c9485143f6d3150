//! Bearers of tokens of other issuers: who is recognised, what they may do, and how their issuers' keys come and go.

use std::time::Duration;

use claviger_entity::KeyType;
use claviger_tests::{
    Client, Issuer, Node, authority::Authority, issuer::ForeignKey, issuer::KEYS, issuer::Reply, node,
    process,
};
use serde_json::{Value, json};

use super::put_policy;

/// The claims of a good token.
pub(super) fn claims(issuer: &str, subject: &str) -> Value {
    json!({"iss": issuer, "sub": subject, "aud": ["other", "kms"], "iat": 1_700_000_000, "exp": 4_000_000_000_u64})
}

/// Starts a node that trusts one issuer, with further members.
pub(super) fn trusting(issuer: &str, more: Value) -> Node {
    let mut members = json!({"issuer": issuer, "audience": "kms", "cooldown": "1s"});
    members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node_with(&json!({"ext": members}), &[])
}

pub(super) fn node_with(issuers: &Value, more: &[(&str, &str)]) -> Node {
    let issuers = issuers.to_string();
    let mut environment = vec![("CLAVIGER_ISSUERS", issuers.as_str())];
    environment.extend(more);
    Node::with(&environment)
}

/// Asks until the answer is this, since keys come in the background.
pub(super) fn until_status(client: &Client, status: u16) {
    let is = || (client.get("/v1/keys").status == status).then_some(());
    process::until(Duration::from_secs(20), is).unwrap_or_else(|| panic!("{}", client.get("/v1/keys").text));
}

#[test]
fn subjects_hold_the_roles_of_their_patterns_and_what_policies_say_and_nothing_that_a_claim_says() {
    let key = ForeignKey::new(KeyType::Rs256, "k1");
    let issuer = Issuer::with(&[&key]);
    let roles = json!({
        "system:serviceaccount:payments:*": ["encrypter"],
        "system:serviceaccount:payments:api": ["verifier", "signer"],
        "system:serviceaccount:ops:root": ["admin"],
    });
    let node = trusting(&issuer.url(), json!({"roles": roles}));
    let admin = node.client();
    let bearer = |claims: &Value| admin.with_token(Some(&key.token(claims)));
    let of = |subject: &str| bearer(&claims(&issuer.url(), subject));
    let random = json!({"bytes": 8});

    let worker = of("system:serviceaccount:payments:worker");
    worker.post("/v1/random", &random).expect(200);
    worker.post("/v1/tokens", &json!({"subject": "x"})).refused(403, "forbidden");
    let api = of("system:serviceaccount:payments:api");
    api.post("/v1/random", &random).expect(200);
    api.post("/v1/tokens", &json!({"subject": "x"})).expect(201);
    // Roles of a token are words; administrators are made by configuration alone.
    for word in ["roles", "role", "groups", "scope", "scp", "https://claviger/roles"] {
        let mut claims = claims(&issuer.url(), "system:serviceaccount:payments2:worker");
        claims[word] = json!(["admin"]);
        bearer(&claims).get("/v1/keys").refused(403, "forbidden");
        claims["sub"] = json!("system:serviceaccount:payments:worker");
        bearer(&claims).get("/v1/policies").refused(403, "forbidden");
    }
    of("system:serviceaccount:payments:").get("/v1/keys").refused(403, "forbidden");
    of("bootstrap-admin").get("/v1/keys").refused(403, "forbidden");
    of("system:serviceaccount:ops:root").get("/v1/policies").expect(200);
    // Not even they hand on what their token does not hold for ever.
    let body = json!({"name": "x", "roles": ["admin"]});
    of("system:serviceaccount:ops:root").post("/v1/api-keys", &body).refused(403, "forbidden");

    let nobody = of("job");
    nobody.get("/v1/keys").refused(403, "forbidden");
    let text =
        format!("permit (principal == Claviger::Subject::\"{}#job\", action, resource);", issuer.url());
    put_policy(&admin, "job", &text);
    nobody.get("/v1/keys").expect(200);
    // The same subject of our own is somebody else.
    let own = admin.post("/v1/tokens", &json!({"audience": "claviger", "subject": "job"})).expect(201);
    admin.with_token(own["token"].as_str()).get("/v1/keys").refused(403, "forbidden");
    // On record with the issuer: anybody could call themselves anything.
    let name = format!("{}#system:serviceaccount:payments:api", issuer.url());
    let is_recorded =
        node.records().iter().any(|record| record["actor"] == name.as_str() && record["outcome"] == "ok");
    assert!(is_recorded);
    assert!(!node.records().iter().any(|record| record["actor"] == "job" && record["outcome"] == "ok"));
}

#[test]
fn keys_of_an_issuer_rotate_and_withdrawn_ones_end() {
    let (old, new) = (ForeignKey::new(KeyType::Es256, "old"), ForeignKey::new(KeyType::Eddsa, "new"));
    let issuer = Issuer::with(&[&old]);
    let node = trusting(&issuer.url(), json!({"roles": {"*": ["verifier"]}}));
    let admin = node.client();
    let bearer = |key: &ForeignKey| admin.with_token(Some(&key.token(&claims(&issuer.url(), "s"))));
    bearer(&old).get("/v1/keys").expect(200);
    let asked = issuer.asked(KEYS);
    for _ in 0..20 {
        bearer(&old).get("/v1/keys").expect(200);
    }
    assert_eq!(issuer.asked(KEYS), asked, "a key that is known is not asked for");
    issuer.publish(&[&old, &new]);
    until_status(&bearer(&new), 200);
    bearer(&old).get("/v1/keys").expect(200);
    // Whoever asks for a key that is not there makes the node see that another is gone.
    issuer.publish(&[&new]);
    let third = ForeignKey::new(KeyType::Es256, "third");
    let gone = || {
        bearer(&third).get("/v1/keys").refused(401, "unauthorized");
        (bearer(&old).get("/v1/keys").status == 401).then_some(())
    };
    process::until(Duration::from_secs(20), gone).expect("the old key ends");
    bearer(&new).get("/v1/keys").expect(200);
}

#[test]
fn an_issuer_that_is_away_is_done_without_for_a_while() {
    let (key, other) = (ForeignKey::new(KeyType::Es384, "k"), ForeignKey::new(KeyType::Es384, "other"));
    let issuer = Issuer::with(&[&key]);
    let mut node = trusting(&issuer.url(), json!({"roles": {"*": ["verifier"]}, "max_stale": "6s"}));
    let bearer = |node: &Node, key: &ForeignKey| {
        node.client().with_token(Some(&key.token(&claims(&issuer.url(), "s"))))
    };
    bearer(&node, &key).get("/v1/keys").expect(200);
    issuer.reply(KEYS, Reply::Break);
    // Its known keys go on; of others nobody can tell.
    until_status(&bearer(&node, &other), 503);
    bearer(&node, &other).get("/v1/keys").refused(503, "issuer_unavailable");
    bearer(&node, &key).get("/v1/keys").expect(200);
    until_status(&bearer(&node, &key), 503);
    bearer(&node, &key).get("/v1/keys").refused(503, "issuer_unavailable");
    node.client().get("/v1/keys").expect(200);
    // A node starts without its issuers, and finds them when they are back.
    node.restart();
    node.client().get("/v1/keys").expect(200);
    bearer(&node, &key).get("/v1/keys").refused(503, "issuer_unavailable");
    issuer.publish(&[&key]);
    until_status(&bearer(&node, &key), 200);
    until_status(&bearer(&node, &other), 401);
}

/// As in a cluster of Kubernetes: the API server wants to know who asks for its keys.
#[test]
fn keys_are_asked_for_where_the_configuration_says_with_the_token_of_the_file_as_it_is_now() {
    let key = ForeignKey::new(KeyType::Rs256, "k8s");
    let issuer = Issuer::with(&[&key]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first.token.x\n").unwrap();
    let name = "https://kubernetes.default.svc.cluster.local";
    let more = json!({"jwks_uri": issuer.at(KEYS), "token_file": file, "roles": {"system:serviceaccount:a:*": ["verifier"]}});
    let node = trusting(name, more);
    let bearer = |key: &ForeignKey| {
        node.client().with_token(Some(&key.token(&claims(name, "system:serviceaccount:a:b"))))
    };
    bearer(&key).get("/v1/keys").expect(200);
    std::fs::write(&file, "second.token.x\n").unwrap();
    let other = ForeignKey::new(KeyType::Rs256, "other");
    issuer.publish(&[&key, &other]);
    until_status(&bearer(&other), 200);
    let heads = issuer.heads();
    let sent = |head: &String| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with("authorization:"));
        line.and_then(|line| line.split_whitespace().last()).unwrap_or_default().to_owned()
    };
    assert_eq!(heads.first().map(sent).as_deref(), Some("first.token.x"));
    assert_eq!(heads.last().map(sent).as_deref(), Some("second.token.x"));
    assert_eq!(issuer.asked(claviger_tests::issuer::DOCUMENT), 0);
    assert!(!node.log().contains("token.x"));
}

/// One deployment's tokens are credentials of another's, over TLS of an authority that only the configuration names.
#[test]
fn a_deployment_may_trust_another_one() {
    let authority = Authority::local();
    let tls = authority.tls();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (cert, key) = (path(&tls.certificate), path(&tls.key));
    let internal = "127.0.0.1:0";
    let first = Node::with(&[
        ("CLAVIGER_TLS__CERT", &cert),
        ("CLAVIGER_TLS__KEY", &key),
        ("CLAVIGER_SERVER__INTERNAL_LISTEN", internal),
    ]);
    let issuing = first.internal().with_token(Some(node::TOKEN));
    let url = issuing.get("/.well-known/openid-configuration").expect(200)["issuer"].clone();
    let issuers = json!({"first": {"issuer": url, "audience": "second", "roles": {"*": ["verifier"]}}});
    let second = node_with(&issuers, &[("CLAVIGER_TLS__CA_FILE", authority.file())]);
    let issue = |audience: &str| {
        let body = json!({"audience": audience, "subject": "job"});
        let made = issuing.post("/v1/tokens", &body).expect(201);
        second.client().with_token(made["token"].as_str())
    };
    issue("second").get("/v1/keys").expect(200);
    issue("third").get("/v1/keys").refused(401, "unauthorized");
    // Without the authority nobody is believed.
    let doubting = node_with(&issuers, &[]);
    let token = issuing.post("/v1/tokens", &json!({"audience": "second", "subject": "job"})).expect(201);
    doubting.client().with_token(token["token"].as_str()).get("/v1/keys").refused(503, "issuer_unavailable");
}
