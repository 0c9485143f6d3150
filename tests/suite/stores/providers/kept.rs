//! What a provider has given is stored once, or taken back, whatever happens between its answer and the write.

use std::time::Duration;

use claviger_tests::{
    Answer, Client, Cluster, Issuer, Node, Postgres, Proxy,
    cluster::{self, at_once},
    issuer::Reply,
    process,
};
use serde_json::{Value, json};

use super::{PATH, TOKEN, at, node, providers, seed};
use crate::stores::{named_key, node_patience, put};

const REVOKE: &str = "/revoke";

fn gives(issuer: &Issuer, name: &str) {
    issuer.reply(
        TOKEN,
        Reply::Json(json!({"access_token": name, "refresh_token": format!("r-{name}"), "expires_in": 3_600})),
    );
}

fn asked(issuer: &Issuer, path: &str, times: usize) {
    let done = || (issuer.posted(path).len() >= times).then_some(());
    process::until(node_patience(), done).expect("a question to the provider");
}

fn exchange(client: &Client, path: &str, (code, key): (&str, &str)) -> Answer {
    let body = json!({"code": code, "redirect_uri": "u"}).to_string().into_bytes();
    client.send("POST", &format!("{path}/exchange"), Some(body), &[("Idempotency-Key", key)])
}

fn fresh(answer: Answer, access: &str) -> Value {
    assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text);
    let answer = answer.json();
    assert_eq!(answer["access_token"], access);
    answer
}

/// A fail-over that lasts longer than a lease: the pair that was given is stored all the same, and nobody presents what is spent.
#[test]
fn what_was_given_outlives_a_fail_over_of_the_database() {
    const OTHER: &str = "/v1/auth-tokens/bob/idp";
    let issuer = Issuer::start();
    let postgres = Postgres::start();
    let proxy = Proxy::to(postgres.address());
    let config = providers(&issuer, &json!({}));
    let environment = [("CLAVIGER_PROVIDERS", config.as_str()), ("CLAVIGER_SERVER__REQUEST_TIMEOUT", "20s")];
    let url = postgres.url_via(proxy.port());
    let nodes = at_once(2, |name| cluster::node(&url, name, &environment));
    let clients = [nodes[0].client(), nodes[1].client()];
    seed(&clients[0], PATH, -10).expect(201);
    issuer.delay(TOKEN, Duration::from_secs(2));
    std::thread::scope(|scope| {
        issuer.reply(TOKEN, Reply::Rotate);
        let _reading = scope.spawn(|| clients[0].try_send("GET", PATH, None, &[]));
        asked(&issuer, TOKEN, 1);
        gives(&issuer, "code");
        let _exchanging = scope.spawn(|| exchange(&clients[0], OTHER, ("c", "k")));
        asked(&issuer, TOKEN, 2);
        proxy.reset();
        issuer.reply(TOKEN, Reply::Raw(400, "", br#"{"error":"invalid_grant"}"#.to_vec()));
        process::pause(Duration::from_secs(24));
        proxy.heal();
        // From the first moment on the other node would take the leases over.
        let read = scope.spawn(|| {
            process::until(node_patience(), || {
                let answer = clients[1].try_send("GET", PATH, None, &[])?;
                (answer.status != 503).then_some(answer)
            })
        });
        let again = process::until(node_patience(), || {
            let answer = exchange(&clients[1], OTHER, ("c", "k"));
            (answer.status != 503).then_some(answer)
        });
        fresh(again.expect("an answer"), "code");
        fresh(read.join().unwrap().expect("an answer"), "a1");
    });
    assert_eq!(issuer.posted(TOKEN).len(), 2);
}

/// A refresh token that ends while it is being used: whoever reads then does not delete what the provider has already accepted.
#[test]
fn whoever_finds_tokens_dead_leaves_them_to_whoever_refreshes_them() {
    let issuer = Issuer::start();
    issuer.reply(TOKEN, Reply::Rotate);
    issuer.delay(TOKEN, Duration::from_secs(11));
    let config = providers(&issuer, &json!({"revocation_endpoint": issuer.at(REVOKE)}));
    let cluster = Cluster::start(2, &[("CLAVIGER_PROVIDERS", &config)]);
    let clients = [cluster.client(0), cluster.client(1)];
    let body = json!({
        "access_token": "a0", "refresh_token": "r0", "access_expires_at": at(-10), "refresh_expires_at": at(3),
    });
    put(&clients[0], PATH, &body).expect(201);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| clients[0].get(PATH));
        asked(&issuer, TOKEN, 1);
        process::pause(Duration::from_secs(4));
        let others = at_once(2, |number| clients[number].get(PATH));
        for other in others {
            other.refused(503, "refresh_in_progress");
        }
        fresh(first.join().unwrap(), "a1");
    });
    for client in &clients {
        fresh(client.get(PATH), "a1");
    }
    assert_eq!((issuer.posted(TOKEN).len(), issuer.posted(REVOKE).len()), (1, 0));
}

/// Two requests with one code at once, on two nodes: one presents it, and both have what it gives.
#[test]
fn a_code_is_presented_once() {
    let issuer = Issuer::start();
    let config = providers(&issuer, &json!({}));
    let cluster = Cluster::start(2, &[("CLAVIGER_PROVIDERS", &config)]);
    let clients = [cluster.client(0), cluster.client(1)];
    gives(&issuer, "a");
    issuer.delay(TOKEN, Duration::from_secs(2));
    let both = at_once(4, |number| exchange(&clients[number % 2], PATH, ("c", "k")));
    let both: Vec<Value> = both.into_iter().map(|answer| fresh(answer, "a")).collect();
    assert!(both.iter().all(|one| *one == both[0]), "{both:?}");
    assert_eq!(issuer.posted(TOKEN).len(), 1);
    // One that takes longer than anybody waits.
    gives(&issuer, "b");
    issuer.delay(TOKEN, Duration::from_secs(8));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| exchange(&clients[0], PATH, ("d", "l")));
        asked(&issuer, TOKEN, 2);
        exchange(&clients[1], PATH, ("d", "l")).refused(503, "refresh_in_progress");
        fresh(first.join().unwrap(), "b");
    });
    fresh(exchange(&clients[1], PATH, ("d", "l")), "b");
    exchange(&clients[1], PATH, ("e", "l")).refused(400, "invalid_request");
    assert_eq!(issuer.posted(TOKEN).len(), 2);
    assert_eq!(cluster.postgres.psql("SELECT count(*) FROM refresh_leases").trim(), "0");
    // A code that the provider did not take may be tried again.
    issuer.delay(TOKEN, Duration::ZERO);
    issuer.reply(TOKEN, Reply::Raw(503, "", Vec::new()));
    exchange(&clients[0], PATH, ("f", "m")).refused(503, "provider_unavailable");
    gives(&issuer, "c");
    fresh(exchange(&clients[1], PATH, ("f", "m")), "c");
}

/// The request is over before the provider has answered: a retry finds what came of it.
#[test]
fn a_retry_finds_what_came_of_a_request_that_was_given_up() {
    let issuer = Issuer::start();
    issuer.delay(TOKEN, Duration::from_secs(3));
    let config = providers(&issuer, &json!({}));
    let node = Node::with(&[("CLAVIGER_PROVIDERS", &config), ("CLAVIGER_SERVER__REQUEST_TIMEOUT", "1s")]);
    let client = node.client();
    let stored = |name: &str| {
        let batch = json!({"get": [{"user": "alice", "provider": "idp"}]});
        let there = || {
            let read = client.post("/v1/auth-tokens:batch", &batch).expect(200);
            (read["get"][0]["access_token"] == name).then_some(())
        };
        process::until(node_patience(), there).expect("the tokens");
    };
    gives(&issuer, "a");
    exchange(&client, PATH, ("c", "k")).refused(503, "overloaded");
    let done = || {
        let answer = exchange(&client, PATH, ("c", "k"));
        (answer.status != 503).then_some(answer)
    };
    let answer = process::until(node_patience(), done).expect("an answer");
    assert_eq!(answer.status, 201, "as the first time");
    let version = fresh(answer, "a")["version"].clone();
    assert_eq!(client.get(PATH).expect(200)["version"], version);
    // What was changed since is for whoever may read it.
    for (name, code, then) in [("b", "d", 412), ("e", "f", 409)] {
        gives(&issuer, name);
        exchange(&client, PATH, (code, code)).refused(503, "overloaded");
        stored(name);
        if then == 412 {
            seed(&client, PATH, 3_600).expect(200);
            exchange(&client, PATH, (code, code)).refused(412, "precondition_failed");
        } else {
            client.delete(PATH).expect(204);
            exchange(&client, PATH, (code, code)).refused(409, "reauth_required");
        }
    }
    assert_eq!(issuer.posted(TOKEN).len(), 3);
}

fn revoked(issuer: &Issuer, tokens: &[(&str, &str)]) {
    asked(issuer, REVOKE, tokens.len());
    let posted = issuer.posted(REVOKE);
    assert_eq!(posted.len(), tokens.len(), "{posted:?}");
    for (posted, (token, hint)) in posted.iter().zip(tokens) {
        assert!(posted.starts_with(&format!("token={token}&token_type_hint={hint}")), "{posted}");
    }
}

/// Whoever loses the right while the provider thinks stores nothing, and no token of which nobody knows stays good.
#[test]
fn p4_tokens_that_may_not_be_stored_are_revoked() {
    let issuer = Issuer::start();
    let node = node(&issuer, &json!({"revocation_endpoint": issuer.at(REVOKE)}));
    let admin = node.client();
    let (alice, _) = named_key(&admin, "alice", &["owner"]);
    gives(&issuer, "a");
    issuer.delay(TOKEN, Duration::from_secs(2));
    issuer.reply(REVOKE, Reply::Raw(200, "", Vec::new()));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| exchange(&alice, PATH, ("c", "k")));
        asked(&issuer, TOKEN, 1);
        let no = "forbid (principal in Claviger::Role::\"owner\", action == Claviger::Action::\"auth_token.exchange\", resource);";
        assert_eq!(admin.send("PUT", "/v1/policies/no", Some(no.into()), &[]).status, 201);
        asking.join().unwrap().refused(403, "forbidden");
    });
    revoked(&issuer, &[("r-a", "refresh_token"), ("a", "access_token")]);
    admin.get(PATH).refused(404, "not_found");
}

/// Tokens that are deleted while they are refreshed: what the provider gives is revoked, also where it is an access token alone.
#[test]
fn tokens_of_a_user_who_is_gone_are_revoked() {
    let issuer = Issuer::start();
    let node = node(&issuer, &json!({"revocation_endpoint": issuer.at(REVOKE)}));
    let client = node.client();
    issuer.reply(TOKEN, Reply::Json(json!({"access_token": "late", "expires_in": 3_600})));
    issuer.delay(TOKEN, Duration::from_secs(2));
    issuer.reply(REVOKE, Reply::Raw(200, "", Vec::new()));
    seed(&client, PATH, -10).expect(201);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| client.get(PATH));
        asked(&issuer, TOKEN, 1);
        client.delete(PATH).expect(204);
        reading.join().unwrap().refused(409, "reauth_required");
    });
    revoked(&issuer, &[("late", "access_token")]);
    client.get(PATH).refused(404, "not_found");
}

/// A node that asks a provider as much as it may has not asked it about these tokens: nobody waits for that afterwards.
#[test]
fn tokens_do_not_pay_for_a_node_that_is_busy() {
    const CALLS_MAX: usize = 64;
    let issuer = Issuer::start();
    let node = node(&issuer, &json!({}));
    let client = node.client();
    seed(&client, PATH, -10).expect(201);
    gives(&issuer, "a");
    issuer.delay(TOKEN, Duration::from_secs(6));
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            at_once(CALLS_MAX, |number| {
                let path = format!("/v1/auth-tokens/user-{number}/idp");
                exchange(&client, &path, (&format!("c{number}"), &format!("k{number}"))).status
            })
        });
        asked(&issuer, TOKEN, CALLS_MAX);
        for _ in 0..8 {
            client.get(PATH).refused(503, "provider_unavailable");
        }
        assert_eq!(issuer.posted(TOKEN).len(), CALLS_MAX);
        issuer.delay(TOKEN, Duration::ZERO);
        assert!(busy.join().unwrap().iter().all(|status| *status == 201));
    });
    // After eight failures it would be left alone for a minute.
    fresh(client.get(PATH), "a");
}
