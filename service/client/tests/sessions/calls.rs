//! Calls and their answers.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::fake::{Fake, PATIENCE};

#[tokio::test]
async fn calls_are_answered_in_any_order_and_at_most_thirty_are_in_work() {
    let server = Fake::new().await;
    let (client, _events) = server.builder().start().unwrap();
    let (mut peer, params) = server.welcome().await;
    assert_eq!(params["auth"]["token"], "clv_a_b");
    client.opened().await.unwrap();
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.call("echo", json!({ "number": number })).await })
        })
        .collect();
    let mut requests = Vec::new();
    for _ in 0..30 {
        requests.push(peer.request().await);
    }
    assert!(timeout(Duration::from_millis(50), peer.request()).await.is_err(), "there are 31");
    for request in requests.iter().rev() {
        peer.answer(request, request["params"]["number"].clone()).await;
    }
    for _ in 0..10 {
        let request = peer.request().await;
        peer.answer(&request, request["params"]["number"].clone()).await;
    }
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(timeout(PATIENCE, call).await.unwrap().unwrap(), Ok(json!(number)));
    }
}

#[tokio::test]
async fn what_the_server_says_of_a_failure_is_handed_on() {
    let server = Fake::new().await;
    let (client, _events) = server.builder().call_timeout(Duration::from_millis(200)).start().unwrap();
    let (mut peer, _) = server.welcome().await;
    client.opened().await.unwrap();
    let serve = async {
        let request = peer.request().await;
        let error =
            json!({"code": "stale_node", "message": "try again", "retryable": true, "retryAfterMs": 50});
        peer.refuse(&request, error).await;
    };
    let (error, ()) = tokio::join!(client.call("keys.sign", json!({})), serve);
    let error = error.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable, error.is_outcome_unknown), ("stale_node", true, false));
    assert_eq!(error.retry_after, Some(Duration::from_millis(50)));

    // No answer; and one that comes too late harms nobody.
    let error = client.call("keys.sign", json!({})).await.unwrap_err();
    assert!(error.code == "timed_out" && error.is_outcome_unknown, "{error}");
    let late = peer.request().await;
    peer.answer(&late, json!(1)).await;
    peer.answer(&json!({"id": "never asked"}), json!(1)).await;
    let serve = async {
        let request = peer.request().await;
        peer.answer(&request, json!(2)).await;
    };
    let (answer, ()) = tokio::join!(client.call("keys.sign", json!({})), serve);
    assert_eq!(answer, Ok(json!(2)));

    let error = client.call("keys.sign", json!({"input": "a".repeat(600_000)})).await.unwrap_err();
    assert_eq!(error.code, "payload_too_large");
}
