//! Servers that say no, say nonsense, or say nothing.

use std::time::Duration;

use claviger_client::{Client, Ending, State};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::fake::{Fake, PATIENCE, States, hello, quick};

#[tokio::test]
async fn what_does_not_begin_with_a_challenge_is_no_server() {
    let challenge =
        |payload: Value| json!({"type": "event", "event": "connect.challenge", "payload": payload});
    let beginnings = [
        Message::text("hello"),
        Message::text(json!({"type": "event", "event": "tick", "payload": {"ts": 1}}).to_string()),
        Message::text(json!({"type": "res", "id": "connect", "ok": true}).to_string()),
        Message::text(challenge(json!({"ts": 1})).to_string()),
        Message::text(challenge(json!({"nonce": "a|b", "ts": 1})).to_string()),
        Message::text(challenge(json!({"nonce": "n", "ts": "now"})).to_string()),
        Message::binary(vec![1, 2, 3]),
        Message::text("[".repeat(200_000)),
    ];
    for beginning in beginnings {
        let (server, states) = (Fake::new().await, States::default());
        let _client = states.watch(server.builder()).start().unwrap();
        let mut peer = server.accept().await;
        peer.0.send(beginning.clone()).await.unwrap();
        let ending = states.ending().await;
        assert!(matches!(ending, Ending::Protocol(_)), "{ending:?}");
    }
}

#[tokio::test]
async fn a_final_refusal_ends_the_client_and_says_why() {
    let table = [
        (
            json!({"code": "pairing_required", "message": "pairing required", "details": {"requestId": "r1"}}),
            1_008,
        ),
        (json!({"code": "unauthorized", "message": "unauthorized: the token is not valid"}), 1_008),
        (
            json!({"code": "invalid_request", "message": "protocol mismatch", "details": {"expectedProtocol": 2}}),
            1_002,
        ),
        (json!({"code": "forbidden", "message": "origin not allowed"}), 1_008),
    ];
    for (error, code) in table {
        let (server, states) = (Fake::new().await, States::default());
        let (client, mut events) = states.watch(server.builder()).start().unwrap();
        let mut peer = server.accept().await;
        peer.challenge().await;
        let request = peer.request().await;
        peer.refuse(&request, error.clone()).await;
        peer.close(code, "the same").await;
        let why = client.opened().await.unwrap_err();
        if let Ending::Refused { code, request_id, .. } = &why {
            assert_eq!(error["code"], *code);
            assert_eq!(error["details"]["requestId"].as_str(), request_id.as_deref());
        } else {
            assert_eq!((&why, &error["message"]), (&Ending::Mismatch, &json!("protocol mismatch")));
        }
        assert_eq!(states.last(), Some(State::GivenUp { why }));
        assert_eq!(events.next().await, None);
        let error = client.call("keys.list", json!({})).await.unwrap_err();
        assert_eq!(error.code, "not_connected");
    }
}

#[tokio::test]
async fn a_hello_that_is_none_is_told_apart() {
    let mut other_version = hello("operator", 1_000);
    other_version["server"]["protocolVersion"] = json!(2);
    let mut incomplete = hello("operator", 1_000);
    incomplete["policy"] = json!({});
    for (hello, is_final) in [
        (other_version, true),
        (incomplete, false),
        (hello("node", 1_000), false),
        (json!({"type": "hello-ok"}), false),
        (json!(null), false),
    ] {
        let (server, states) = (Fake::new().await, States::default());
        let _client = states.watch(server.builder()).start().unwrap();
        let mut peer = server.accept().await;
        peer.challenge().await;
        let request = peer.request().await;
        peer.answer(&request, hello.clone()).await;
        let ending = states.ending().await;
        assert_eq!(ending == Ending::Mismatch, is_final, "{ending:?} {hello}");
        assert!(is_final || matches!(ending, Ending::Protocol(_)), "{ending:?}");
    }
}

#[tokio::test]
async fn a_server_that_goes_silent_is_left_for_the_next_one() {
    let (silent, other, states) = (Fake::new().await, Fake::new().await, States::default());
    let builder = quick(Client::builder([silent.address.clone(), other.address.clone()]));
    let _client = states.watch(builder).start().unwrap();
    let (mut peer, _) = silent.welcome_with(100, json!({})).await;
    // Ticks keep it.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        peer.send(&json!({"type": "event", "event": "tick", "payload": {"ts": 1}, "seq": 1})).await;
    }
    assert_eq!(states.endings(), []);
    assert_eq!(states.ending().await, Ending::Silent);
    // And the first one again after that.
    drop(other.welcome().await);
    let _welcomed = timeout(PATIENCE, silent.welcome()).await.unwrap();
}

#[tokio::test]
async fn pings_are_answered() {
    let server = Fake::new().await;
    let _client = server.builder().start().unwrap();
    let (mut peer, _) = server.welcome().await;
    peer.0.send(Message::Ping("are you there".into())).await.unwrap();
    let pong = timeout(PATIENCE, peer.0.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong("are you there".into()));
}

#[tokio::test]
async fn a_frame_that_breaks_off_and_one_that_is_too_large_end_the_connection_only() {
    let (server, states) = (Fake::new().await, States::default());
    let (client, _events) = states.watch(server.builder()).start().unwrap();
    // A text frame of 100 bytes, of which 5 come.
    let (mut peer, _) = server.welcome().await;
    client.opened().await.unwrap();
    let calling = tokio::spawn({
        let client = client.clone();
        async move { client.call("keys.list", json!({})).await }
    });
    let _asked = peer.request().await;
    let stream = peer.0.get_mut();
    stream.write_all(&[0x81, 100, b'{', b'"', b't', b'y', b'p']).await.unwrap();
    stream.shutdown().await.unwrap();
    let error = calling.await.unwrap().unwrap_err();
    assert!(error.code == "connection_lost" && error.is_outcome_unknown, "{error}");
    assert_eq!(states.ending().await, Ending::Closed { code: 1_006, reason: String::new() });
    // The head of a frame of 2^40 bytes: nothing is set aside for it.
    let (mut peer, _) = server.welcome().await;
    peer.0.get_mut().write_all(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]).await.unwrap();
    states.until(|state| matches!(state, State::Waiting { why: Ending::Protocol(_), .. })).await;
    let _welcomed = server.welcome().await;
}

async fn answered_with(head: &str) -> (States, State) {
    let (server, states) = (Fake::new().await, States::default());
    let _client = states.watch(server.builder()).start().unwrap();
    let mut stream = server.raw().await;
    let _request = stream.read(&mut [0; 4_096]).await.unwrap();
    stream.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
    let is_over = |state: &State| matches!(state, State::Waiting { .. } | State::GivenUp { .. });
    let state = states.until(is_over).await;
    (states, state)
}

#[tokio::test]
async fn an_answer_over_http_is_judged_by_its_status() {
    let (_, state) = answered_with("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n").await;
    assert!(matches!(state, State::Waiting { delay, .. } if delay == Duration::from_secs(7)), "{state:?}");
    let (_, state) = answered_with("HTTP/1.1 503 Service Unavailable\r\n").await;
    assert!(matches!(state, State::Waiting { .. }), "{state:?}");
    for head in ["HTTP/1.1 404 Not Found\r\n", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"] {
        let (_, state) = answered_with(head).await;
        assert!(matches!(state, State::GivenUp { why: Ending::NotUpgraded { .. } }), "{state:?}");
    }
}

#[tokio::test]
async fn a_restart_of_the_server_is_lived_through() {
    let (server, states) = (Fake::new().await, States::default());
    let _client = states.watch(server.builder()).start().unwrap();
    for (code, reason) in
        [(1_012, "service restart"), (1_008, "slow consumer"), (1_008, "credential revoked")]
    {
        let (mut peer, _) = server.welcome().await;
        peer.close(code, reason).await;
        let expected = Ending::Closed { code, reason: reason.to_owned() };
        states.until(|state| matches!(state, State::Waiting { why, .. } if *why == expected)).await;
    }
    let _welcomed = server.welcome().await;
}

#[tokio::test]
async fn whoever_drops_the_client_says_good_bye() {
    let server = Fake::new().await;
    let (client, events) = server.builder().start().unwrap();
    let (mut peer, _) = server.welcome().await;
    drop(events);
    let other = client.clone();
    drop(client);
    assert!(other.opened().await.is_ok(), "somebody still uses it");
    drop(other);
    let last = timeout(PATIENCE, peer.0.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(last, Message::Close(_)), "{last:?}");
}
