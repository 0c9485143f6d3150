//! Events: each once, in order, whatever happens to the connection.

use serde_json::json;

use crate::fake::{Fake, States, next};

#[tokio::test]
async fn a_client_goes_on_where_it_was_and_hands_out_nothing_twice() {
    let server = Fake::new().await;
    let (_client, mut events) = server.builder().topics(["k"]).start().unwrap();
    let (mut peer, _) = server.welcome().await;
    assert_eq!(peer.subscribed(7).await, json!({"topics": ["k"]}));
    peer.rotated(9, 2).await;
    assert_eq!(next(&mut events).await, ("key.rotated".to_owned(), Some(9), json!(2)));
    assert_eq!(events.position(), Some(8));
    drop(peer);

    // The change 9 may have had another event.
    let (mut peer, _) = server.welcome().await;
    assert_eq!(peer.subscribed(8).await, json!({"topics": ["k"], "sinceEpoch": 8}));
    peer.rotated(9, 2).await;
    peer.rotated(9, 3).await;
    peer.rotated(12, 4).await;
    peer.rotated(11, 9).await;
    for (epoch, version) in [(9, 3), (12, 4)] {
        assert_eq!(next(&mut events).await, ("key.rotated".to_owned(), Some(epoch), json!(version)));
    }
    assert_eq!(events.position(), Some(11));
    drop(peer);

    // Too long ago: the whole ring, and then what follows it.
    let (mut peer, _) = server.welcome().await;
    assert_eq!(peer.subscribed(40).await["sinceEpoch"], 11);
    peer.event("ring.sync", 40, json!({"epoch": 40, "jwks": {"keys": []}, "keys": []})).await;
    peer.rotated(40, 5).await;
    peer.rotated(41, 6).await;
    assert_eq!(next(&mut events).await.0, "ring.sync");
    assert_eq!(events.position(), Some(40));
    assert_eq!(next(&mut events).await, ("key.rotated".to_owned(), Some(41), json!(6)));
}

#[tokio::test]
async fn a_run_begins_where_another_has_ended() {
    let server = Fake::new().await;
    let (_client, mut events) = server.builder().topics(["*"]).since(Some(5)).start().unwrap();
    assert_eq!(events.position(), Some(5));
    let (mut peer, _) = server.welcome().await;
    assert_eq!(peer.subscribed(5).await, json!({"topics": ["*"], "sinceEpoch": 5}));
    peer.send(&json!({"type": "event", "event": "tick", "payload": {"ts": 1}, "seq": 1})).await;
    peer.send(&json!({"type": "news", "of": "a later protocol"})).await;
    peer.send(&json!({"type": "event", "event": "token.revoked", "payload": {"jti": "j"}, "seq": 2})).await;
    peer.rotated(6, 2).await;
    assert_eq!(next(&mut events).await.0, "token.revoked");
    assert_eq!(events.position(), Some(5));
    assert_eq!(next(&mut events).await.1, Some(6));
}

#[tokio::test]
async fn a_subscription_that_is_refused_is_judged_like_the_session() {
    let (server, states) = (Fake::new().await, States::default());
    let (client, _events) = states.watch(server.builder().topics(["*"])).start().unwrap();
    for (code, is_final) in [("overloaded", false), ("forbidden", true)] {
        let (mut peer, _) = server.welcome().await;
        let request = peer.request().await;
        peer.refuse(&request, json!({"code": code, "message": "no"})).await;
        if !is_final {
            continue;
        }
        states.until(|state| matches!(state, claviger_client::State::GivenUp { .. })).await;
        assert!(client.opened().await.is_err());
    }
}

#[tokio::test]
async fn an_application_that_takes_no_events_holds_up_no_call_and_misses_nothing() {
    const LAST: u64 = 700;
    let server = Fake::new().await;
    let (client, mut events) = server.builder().topics(["*"]).start().unwrap();
    let (mut peer, _) = server.welcome().await;
    peer.subscribed(7).await;
    for epoch in 8..=LAST {
        peer.rotated(epoch, epoch).await;
    }
    let serve = async {
        let request = peer.request().await;
        peer.answer(&request, json!("done")).await;
    };
    let (answer, ()) = tokio::join!(client.call("keys.list", json!({})), serve);
    assert_eq!(answer, Ok(json!("done")));

    let serving = tokio::spawn(async move {
        // It asks for what did not fit, as often as it has room again.
        loop {
            let request = peer.request().await;
            assert_eq!(request["method"], "events.subscribe");
            let since = request["params"]["sinceEpoch"].as_u64().unwrap();
            peer.answer(&request, json!({"epoch": since})).await;
            for epoch in since + 1..=LAST {
                peer.rotated(epoch, epoch).await;
            }
        }
    });
    for epoch in 8..=LAST {
        assert_eq!(next(&mut events).await, ("key.rotated".to_owned(), Some(epoch), json!(epoch)));
    }
    serving.abort();
}
