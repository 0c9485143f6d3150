//! The stream of one node: what it tells, to whom, and when it ends.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use claviger_tests::{
    Listener, Node,
    listener::{Next, Told},
    node::TOKEN,
    process,
};
use serde_json::{Value, json};

use super::{LONG, compromise, create, rotate};
use crate::access::{api_key, put_policy};

fn secret(made: &Value) -> String {
    made["secret"].as_str().unwrap().to_owned()
}

/// Everything up to the end of an answer that has one.
fn so_far(node: &Node, query: &str, token: &str) -> Vec<Told> {
    let listener = Listener::open(node, query, token, None).unwrap().unwrap();
    let mut told = Vec::new();
    loop {
        match listener.next(LONG) {
            Next::Told(next) => told.push(next),
            Next::End => return told,
            Next::Silence => panic!("the answer has no end"),
        }
    }
}

#[test]
fn every_change_of_a_key_is_told_with_its_epoch() {
    let node = Node::start();
    let client = node.client();
    let listener = Listener::of(&node, "");
    let Next::Told(beginning) = listener.next(LONG) else { panic!("it begins with where it begins") };
    assert_eq!((beginning.event.as_str(), beginning.data), ("", Value::Null));
    let key = create(&client, "k");
    let created = listener.event();
    assert_eq!(created.event, "key.created");
    assert_eq!(
        created.data,
        json!({"name": "k", "version": 1, "kid": key["versions"][1]["kid"], "state": "active"})
    );
    assert!(created.id > beginning.id);
    let rotated = rotate(&client, "k");
    let told = listener.event();
    assert_eq!((told.event.as_str(), told.id), ("key.rotated", rotated["epoch"].as_u64()));
    assert_eq!(
        told.data,
        json!({"name": "k", "version": 2, "kid": rotated["kid"], "state": "active", "previous_version": 1, "reason": "drill"})
    );
    // Two events of one change: whoever has got the id has got them all.
    let compromised = compromise(&client, "k", 2);
    let (first, second) = (listener.event(), listener.event());
    assert_eq!(
        (first.event.as_str(), first.id, &first.data["version"]),
        ("key.compromised", None, &json!(2))
    );
    assert_eq!((second.event.as_str(), second.id), ("key.rotated", compromised["epoch"].as_u64()));
    for (action, event) in
        [("suspend", "key.suspended"), ("resume", "key.resumed"), ("destroy", "key.destroyed")]
    {
        client.post(&format!("/v1/keys/k/versions/1/{action}"), &json!({"reason": "drill"})).expect(200);
        assert_eq!(listener.event().event, event);
    }
    // What is no event is not told; the epochs go on.
    client.patch("/v1/keys/k", &json!({"description": "d"})).expect(200);
    put_policy(&client, "p", "permit (principal in Claviger::Role::\"x\", action, resource);");
    rotate(&client, "k");
    assert_eq!(listener.event().event, "key.rotated");
}

#[test]
fn whoever_comes_back_gets_what_they_missed_once() {
    let node = Node::start();
    let client = node.client();
    create(&client, "k");
    let since = client.get("/v1/keys/k").header("x-claviger-epoch").parse::<u64>().unwrap();
    let rotations: Vec<u64> = (0..5).map(|_| rotate(&client, "k")["epoch"].as_u64().unwrap()).collect();
    let ids = |told: &[Told]| -> Vec<u64> {
        told.iter().filter(|told| !told.event.is_empty()).filter_map(|told| told.id).collect()
    };
    assert_eq!(ids(&so_far(&node, &format!("?follow=false&since_epoch={since}"), TOKEN)), rotations);
    assert_eq!(
        ids(&so_far(&node, &format!("?follow=false&since_epoch={}", rotations[2]), TOKEN)),
        rotations[3..]
    );
    // The header is stronger than the address, which a browser keeps.
    let query = format!("?since_epoch={since}");
    let listener = Listener::open(&node, &query, TOKEN, Some(rotations[1])).unwrap().unwrap();
    assert_eq!([0, 1, 2].map(|_| listener.event().id.unwrap()), rotations[2..]);
    assert_eq!(listener.event_after(|| drop(rotate(&client, "k"))).event, "key.rotated");
    // What can't be told is replaced by all there is: of before the deployment, of another incarnation, of the future.
    for since in [0, since + (1 << 32), since + 1_000_000] {
        let told = so_far(&node, &format!("?follow=false&since_epoch={since}"), TOKEN);
        // Whoever is cut off before it has come has nothing to go on from.
        assert_eq!((told[0].event.as_str(), told[0].id), ("", Some(since)));
        let sync = told.iter().find(|told| !told.event.is_empty()).unwrap();
        assert_eq!((sync.event.as_str(), sync.id), ("ring.sync", sync.data["epoch"].as_u64()));
        let keys = sync.data["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["name"] == "k").unwrap();
        assert_eq!((&key["primary_version"], key["versions"].as_array().unwrap().len()), (&json!(7), 8));
        assert!(keys.iter().all(|key| !key["name"].as_str().unwrap().starts_with('~')));
        assert_eq!(sync.data["jwks"], client.get("/.well-known/jwks.json").json());
    }
}

#[test]
fn topics_choose_and_nonsense_is_refused() {
    let node = Node::start();
    let client = node.client();
    for name in ["a", "b"] {
        create(&client, name);
    }
    let (of_a, of_creations) =
        (Listener::of(&node, "?topics=a"), Listener::of(&node, "?topics=key.created,b"));
    rotate(&client, "a");
    rotate(&client, "b");
    create(&client, "c");
    rotate(&client, "a");
    let names = |listener: &Listener| {
        [0, 1].map(|_| {
            let told = listener.event();
            format!("{} {}", told.event, told.data["name"].as_str().unwrap())
        })
    };
    assert_eq!(names(&of_a), ["key.rotated a", "key.rotated a"]);
    assert_eq!(names(&of_creations), ["key.rotated b", "key.created c"]);
    for query in [
        "?topics=a/b",
        "?topics=",
        "?topics=a,,b",
        "?since_epoch=x",
        "?since_epoch=-1",
        "?follow=x",
        "?other=1",
    ] {
        client.get(&format!("/v1/events{query}")).refused(400, "invalid_request");
    }
    for last in ["x", "1.5", "-1", "99999999999999999999", "1.0AB100FF"] {
        client.send("GET", "/v1/events", None, &[("last-event-id", last)]).refused(400, "invalid_request");
    }
    client.with_token(None).get("/v1/events").refused(401, "unauthorized");
}

#[test]
fn of_each_key_hears_who_may_see_it() {
    let node = Node::start();
    let client = node.client();
    create(&client, "mine");
    create(&client, "theirs");
    let made = client.post("/v1/api-keys", &json!({"name": "app", "roles": ["app"]})).expect(201);
    let policy = |keys: &str| {
        format!(
            "permit (principal in Claviger::Role::\"app\", action == Claviger::Action::\"events.read\", resource); \
             permit (principal in Claviger::Role::\"app\", action == Claviger::Action::\"key.read\", resource) \
             when {{ {keys} }};"
        )
    };
    put_policy(&client, "app", &policy("resource.name == \"mine\""));
    let secret = secret(&made);
    let listener = Listener::open(&node, "", &secret, None).unwrap().unwrap();
    rotate(&client, "theirs");
    rotate(&client, "mine");
    assert_eq!(listener.event().data["name"], "mine");
    let told = so_far(&node, "?follow=false&since_epoch=0", &secret);
    let keys = told.iter().find(|told| told.event == "ring.sync").unwrap().data["keys"].clone();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    // Policies change, and with them what is told to whoever listens already.
    put_policy(&client, "app", &policy("resource.name == \"theirs\""));
    rotate(&client, "mine");
    rotate(&client, "theirs");
    assert_eq!(listener.event().data["name"], "theirs");
    // A key that is gone was seen, and so is its end.
    client.patch("/v1/keys/theirs", &json!({"deletion_allowed": true})).expect(200);
    client.delete("/v1/keys/theirs?after=1s").expect(200);
    assert_eq!(listener.event().event, "key.destroyed");
    // Without the right to listen at all there is nothing to hear.
    let (_, nobody) = api_key(&client, &["owner"]);
    nobody.get("/v1/events").refused(403, "forbidden");
}

#[test]
fn whoever_loses_the_right_to_listen_is_cut_off_at_once() {
    let node = Node::start();
    let client = node.client();
    let made = client.post("/v1/api-keys", &json!({"name": "app", "roles": ["app"]})).expect(201);
    let policy = "permit (principal in Claviger::Role::\"app\", action == Claviger::Action::\"events.read\", resource);";
    put_policy(&client, "app", policy);
    let (id, key) = (made["id"].as_str().unwrap(), secret(&made));
    let open = || Listener::open(&node, "", &key, None).unwrap().unwrap();
    let listener = open();
    client.delete("/v1/policies/app").expect(204);
    assert!(listener.ends(Duration::from_secs(5)), "the policy is gone");
    put_policy(&client, "app", policy);
    let listener = open();
    client.delete(&format!("/v1/api-keys/{id}")).expect(204);
    assert!(listener.ends(Duration::from_secs(5)), "the key is gone");

    let issued = json!({"subject": "alice", "audience": "claviger"});
    let issued = client.post("/v1/tokens", &issued).expect(201);
    let issuer = client.get("/.well-known/openid-configuration").expect(200)["issuer"].clone();
    let policy = format!(
        "permit (principal, action == Claviger::Action::\"events.read\", resource) \
         when {{ principal is Claviger::Subject && principal.issuer == {issuer} && principal.subject == \"alice\" }};"
    );
    put_policy(&client, "alice", &policy);
    let token = issued["token"].as_str().unwrap();
    let listener = Listener::open(&node, "", token, None).unwrap().unwrap();
    client.post("/v1/tokens/revoke", &json!({"token": token})).expect(200);
    assert!(listener.ends(Duration::from_secs(5)), "the token is revoked");
    let brief = json!({"subject": "alice", "audience": "claviger", "expires_in": "3s"});
    let brief = client.post("/v1/tokens", &brief).expect(201);
    let listener = Listener::open(&node, "", brief["token"].as_str().unwrap(), None).unwrap().unwrap();
    assert!(listener.ends(Duration::from_secs(8)), "the token has expired");
}

#[test]
fn p11_streams_end_when_the_node_leaves() {
    let mut node = Node::start();
    let client = node.client();
    let listeners: Vec<Listener> = (0..20).map(|_| Listener::of(&node, "")).collect();
    create(&client, "k");
    for listener in &listeners {
        assert_eq!(listener.event().event, "key.created");
    }
    let began = Instant::now();
    assert!(node.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for listener in &listeners {
        assert!(listener.ends(Duration::from_secs(1)));
    }
}

/// Whoever does not read is let go, and until then holds up nobody.
#[test]
fn a_jammed_reader_is_closed_not_suffered() {
    let node = Node::start();
    let client = node.client();
    create(&client, "k");
    let mut jammed = TcpStream::connect(node.address()).unwrap();
    let request =
        format!("GET /v1/events?since_epoch=0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    jammed.write_all(request.as_bytes()).unwrap();
    let mut first = [0; 12];
    jammed.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let listener = Listener::of(&node, "");
    for _ in 0..50 {
        rotate(&client, "k");
        assert_eq!(listener.event().event, "key.rotated");
    }
    // The subscription goes with its reader.
    let subscribers = || {
        let text = client.get("/metrics").text;
        let line = text.lines().find(|line| line.starts_with("claviger_event_subscribers ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(subscribers(), 2);
    drop((jammed, listener));
    let gone = || {
        rotate(&client, "k");
        (subscribers() == 0).then_some(())
    };
    process::until(LONG, gone).expect("nobody listens any more");
}

/// One that takes nothing, and has asked for more than it will ever get, costs the time that a shutdown may take and no more.
#[test]
fn p11_a_jammed_reader_does_not_keep_a_node_from_its_end() {
    let mut node = Node::start();
    let client = node.client();
    for number in 0..200 {
        client.post("/v1/keys", &json!({"name": format!("k{number}"), "type": "hs256"})).expect(201);
    }
    let mut jammed = TcpStream::connect(node.address()).unwrap();
    jammed.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let request = format!(
        "GET /v1/events?since_epoch=0&follow=false HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    // Until the node can't even take further requests.
    while jammed.write_all(request.as_bytes()).is_ok() {}
    let began = Instant::now();
    assert!(node.terminate().success());
    // `server.shutdown_timeout`, and what comes after it.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// A change that is no event moves the id on all the same, with the next sign of life.
#[test]
fn changes_that_are_no_events_are_not_asked_for_again() {
    let node = Node::start();
    let client = node.client();
    create(&client, "k");
    let listener = Listener::of(&node, "");
    let Next::Told(beginning) = listener.next(LONG) else { panic!("it begins with where it begins") };
    client.patch("/v1/keys/k", &json!({"description": "d"})).expect(200);
    let epoch = client.get("/v1/keys/k").header("x-claviger-epoch").parse::<u64>().unwrap();
    let Next::Told(beat) = listener.next(LONG) else { panic!("there is a sign of life") };
    assert_eq!((beat.event.as_str(), beat.id), ("", Some(epoch)));
    assert_ne!((beat.id, &beat.mark), (beginning.id, &beginning.mark));
}

#[test]
fn revoked_tokens_are_told_to_whoever_may_revoke_any() {
    let node = Node::start();
    let client = node.client();
    let (_, signer) = api_key(&client, &["signer"]);
    let everything = Listener::of(&node, "?topics=token.revoked");
    let made = client.post("/v1/tokens", &json!({"refresh": true, "subject": "alice"})).expect(201);
    let jti = made["jti"].clone();
    client.post("/v1/tokens/revoke", &json!({"token": made["token"]})).expect(200);
    let told = everything.event();
    assert_eq!((told.event.as_str(), told.id, told.data), ("token.revoked", None, json!({"jti": jti})));
    client.post("/v1/tokens/revoke", &json!({"subject": "alice"})).expect(200);
    assert_eq!(everything.event().data, json!({"subject": "alice", "reauthenticate": true}));
    let made = client.post("/v1/tokens", &json!({"refresh": true})).expect(201);
    let spent = json!({"refresh_token": made["refresh_token"]});
    signer.post("/v1/tokens/refresh", &spent).expect(200);
    signer.post("/v1/tokens/refresh", &spent).refused(401, "token_reused");
    let told = everything.event().data;
    assert_eq!(told["reauthenticate"], true);
    assert!(told["family"].is_string(), "{told}");
}
