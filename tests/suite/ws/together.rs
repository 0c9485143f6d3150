//! Sessions of a cluster: what one node revokes ends them on another, and each node knows who is connected to the others.

#![expect(clippy::print_stderr, reason = "figures are for whoever looks")]

use std::time::{Duration, Instant};

use claviger_tests::{
    Client, Node, Postgres, Redis, cluster,
    cluster::at_once,
    node::TOKEN,
    process::{PATIENCE, until},
    sessions::Session,
    spread::Times,
};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::access::put_policy;

/// For a machine that does much else.
const SLACK: u32 = 5;
/// Sessions that are ended, one after the other.
const ROUNDS: usize = 30;

struct Two {
    nodes: Vec<Node>,
    _redis: Redis,
    _postgres: Postgres,
}

impl Two {
    fn start() -> Self {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        let (url, hints) = (postgres.url(), redis.url());
        let environment = [("CLAVIGER_REDIS__URL", hints.as_str())];
        let nodes = at_once(2, |index| cluster::node(&url, index, &environment));
        nodes.iter().for_each(|node| crate::cluster::redis::status(node, "connected"));
        Self { nodes, _redis: redis, _postgres: postgres }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opens a session on a node by each of some credentials, revokes them one by one by way of another node, and answers with how long after each answer
/// the session had its close.
fn ended(node: &Node, credentials: &[String], revoke: impl Fn(&str)) -> Times {
    let runtime = runtime();
    let sessions: Vec<Session> = credentials
        .iter()
        .map(|token| runtime.block_on(Session::open(node.address(), token, &["operator.read"])))
        .collect();
    let mut times = Times::default();
    for (session, credential) in sessions.into_iter().zip(credentials) {
        revoke(credential);
        let answered = Instant::now();
        assert_eq!(runtime.block_on(session.closed()), "credential revoked");
        times.0.push(answered.elapsed());
    }
    times
}

fn told(what: &str, times: &Times) -> Duration {
    let [half, most] = [0.5, 0.99].map(|share| times.quantile(share));
    eprintln!("{what}: half after {half:?}, 99 % after {most:?}");
    most
}

#[test]
fn p4_what_another_node_revokes_ends_sessions_here() {
    let two = Two::start();
    let [revoking, serving] = [0, 1].map(|node| two.nodes[node].client());
    let keys: Vec<(String, String)> = (0..ROUNDS)
        .map(|number| {
            let made =
                revoking.post("/v1/api-keys", &json!({"name": format!("k{number}"), "roles": ["admin"]}));
            let made = made.expect(201);
            let text = |name: &str| made[name].as_str().unwrap().to_owned();
            (text("secret"), text("id"))
        })
        .collect();
    let secrets: Vec<String> = keys.iter().map(|(secret, _)| secret.clone()).collect();
    let most = told(
        "API keys that were deleted",
        &ended(&two.nodes[1], &secrets, |secret| {
            let (_, id) = keys.iter().find(|(known, _)| known == secret).unwrap();
            assert!(revoking.delete(&format!("/v1/api-keys/{id}")).status < 300);
        }),
    );
    assert!(most < Duration::from_millis(500) * SLACK, "{most:?}");

    put_policy(&revoking, "jobs", "permit (principal is Claviger::Subject, action, resource);");
    let token = |number: usize| {
        let body = json!({"audience": "claviger", "subject": format!("job-{number}")});
        revoking.post("/v1/tokens", &body).expect(201)["token"].as_str().unwrap().to_owned()
    };
    let tokens: Vec<String> = (0..ROUNDS).map(token).collect();
    let knows =
        |client: &Client| (client.with_token(Some(&tokens[0])).get("/v1/keys").status == 200).then_some(());
    until(PATIENCE, || knows(&serving)).expect("the policy is known");
    let most = told(
        "tokens that were revoked",
        &ended(&two.nodes[1], &tokens, |token| {
            let revoked = revoking.post("/v1/tokens/revoke", &json!({"token": token}));
            assert!(revoked.status < 300, "{}", revoked.text);
        }),
    );
    assert!(most < Duration::from_millis(500) * SLACK, "{most:?}");
}

#[test]
fn each_node_knows_who_is_connected_to_the_other() {
    let mut two = Two::start();
    let other = two.nodes[0].client();
    let runtime = runtime();
    let on_second = |client: &Client| -> Vec<Value> {
        let listed = client.get("/v1/presence").expect(200);
        let items = listed["items"].as_array().unwrap();
        items.iter().filter(|session| session["node"] == "node-1").cloned().collect()
    };
    let address = two.nodes[1].address().to_owned();
    let mut sessions: Vec<Session> =
        (0..3).map(|_| runtime.block_on(Session::open(&address, TOKEN, &["operator.read"]))).collect();
    until(PATIENCE, || (on_second(&other).len() == 3).then_some(())).expect("they are known there");
    let session = on_second(&other)[0].clone();
    assert_eq!((&session["role"], &session["clientId"]), (&json!("operator"), &json!("crowd")));
    drop(sessions.pop());
    until(PATIENCE, || (on_second(&other).len() == 2).then_some(())).expect("one has gone");
    two.nodes[1].kill9();
    let began = Instant::now();
    until(PATIENCE, || on_second(&other).is_empty().then_some(())).expect("the node has gone");
    assert!(began.elapsed() < Duration::from_secs(15 + 5) * 2, "{:?}", began.elapsed());
}
