//! Tokens of devices.

use std::fs;

use claviger_client::{Client, Ending, State};
use serde_json::json;

use crate::fake::{Fake, States, TICK_MS, quick};

#[tokio::test]
async fn the_token_of_a_device_is_kept_and_takes_the_place_of_the_credential() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("device.pem"), folder.path().join("device.pem.operator.token"));
    let (server, states) = (Fake::new().await, States::default());
    let _client = states.watch(server.builder().device(&path)).start().unwrap();
    let (peer, params) = server.welcome_with(TICK_MS, json!({"deviceToken": "clvd_first"})).await;
    assert_eq!((&params["auth"]["token"], &params["auth"]["deviceToken"]), (&json!("clv_a_b"), &json!(null)));
    states.until(|state| matches!(state, State::Open { .. })).await;
    assert_eq!(fs::read_to_string(&kept).unwrap(), "clvd_first\n");
    drop(peer);

    // From now on it is the device that is recognised; refused, the credential stands in again.
    let mut peer = server.accept().await;
    peer.challenge().await;
    let request = peer.request().await;
    let auth = &request["params"]["auth"];
    assert_eq!((&auth["deviceToken"], &auth["token"]), (&json!("clvd_first"), &json!(null)));
    peer.refuse(&request, json!({"code": "unauthorized", "message": "unauthorized: no"})).await;
    let (peer, params) = server.welcome().await;
    assert_eq!(params["auth"]["token"], "clv_a_b");
    // Until there is another token.
    fs::write(&kept, "clvd_second\n").unwrap();
    drop(peer);
    let (_peer, params) = server.welcome().await;
    assert_eq!(params["auth"]["deviceToken"], "clvd_second");
}

#[tokio::test]
async fn a_token_that_can_not_be_kept_is_an_end_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device.pem");
    let (server, states) = (Fake::new().await, States::default());
    let _client = states.watch(server.builder().device(&path)).start().unwrap();
    let gone = folder.path().to_owned();
    fs::remove_dir_all(gone).unwrap();
    let _welcomed = server.welcome_with(TICK_MS, json!({"deviceToken": "clvd_hunter2"})).await;
    let ending = states.ending().await;
    assert!(matches!(ending, Ending::Device(_)) && !ending.to_string().contains("hunter2"), "{ending}");
    assert!(matches!(states.last(), Some(State::GivenUp { .. })));
}

#[tokio::test]
async fn nobody_is_told_a_credential_over_http() {
    let refused = quick(Client::builder(["http://127.0.0.1:1", "http://192.0.2.1:1"])).start();
    assert!(refused.is_err_and(|error| error.to_string().contains("https")));
}
