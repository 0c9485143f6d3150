//! A real OpenID provider (npm `oidc-provider`) that changes refresh tokens with each use.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::digest;
use claviger_tests::{Client, Node};
use serde_json::{Value, json};

use super::{PATH, at};
use crate::{access::peer::Peer, stores::put};

fn verify(client: &Client, token: &Value) -> Value {
    client.post(&format!("{PATH}/verify"), &json!({ "token": token })).expect(200)
}

#[test]
fn tokens_of_a_real_provider_live_from_code_to_logout() {
    let mut peer = Peer::start("tokens.mjs");
    let issuer = peer.issuer().to_owned();
    let providers = json!({"idp": {
        "token_endpoint": format!("{issuer}/token"), "client_id": "app", "client_secret": "secret of the app: a+b",
        "auth_style": "basic", "revocation_endpoint": format!("{issuer}/token/revocation"),
        "introspection_endpoint": format!("{issuer}/token/introspection"),
    }});
    let node = Node::with(&[("CLAVIGER_PROVIDERS", &providers.to_string())]);
    let client = node.client();
    let verifier = "a-verifier-of-43-characters-or-more-0123456789";
    let code = peer.ask(&URL_SAFE_NO_PAD.encode(digest::sha256(verifier.as_bytes())));
    let exchange = |code: &str, verifier: &str| {
        let body =
            json!({"code": code, "redirect_uri": "https://app.example/back", "code_verifier": verifier});
        client.post(&format!("{PATH}/exchange"), &body)
    };
    let first = exchange(&code, verifier).expect(201);
    assert!(first["refresh_token"].is_string() && first["access_expires_at"].is_string(), "{first}");
    assert_eq!(verify(&client, &first["access_token"])["valid"], true);

    let due = |pair: &Value| {
        let body = json!({
            "access_token": pair["access_token"], "refresh_token": pair["refresh_token"], "access_expires_at": at(60),
        });
        put(&client, PATH, &body).expect(200)
    };
    due(&first);
    let second = client.get(PATH).expect(200);
    assert!(
        second["access_token"] != first["access_token"] && second["refresh_token"] != first["refresh_token"]
    );
    due(&second);
    let third = client.get(PATH).expect(200);
    assert!(third["refresh_token"] != second["refresh_token"]);
    assert_eq!(verify(&client, &third["access_token"])["valid"], true);

    assert_eq!(client.post(&format!("{PATH}/logout"), &json!({})).expect(200), json!({"revoked": true}));
    client.get(PATH).refused(404, "not_found");
    assert_eq!(verify(&client, &third["access_token"])["code"], "token_inactive");
    // What was revoked there can't be refreshed.
    put(
        &client,
        PATH,
        &json!({"access_token": "a", "refresh_token": third["refresh_token"], "access_expires_at": at(-1)}),
    )
    .expect(201);
    client.get(PATH).refused(409, "reauth_required");
    client.get(PATH).refused(404, "not_found");

    // A code is good once, and a refresh token too: whoever uses one again ends the whole grant.
    exchange(&code, verifier).refused(409, "reauth_required");
    let code = peer.ask(&URL_SAFE_NO_PAD.encode(digest::sha256(verifier.as_bytes())));
    exchange(&code, &verifier.to_uppercase()).refused(409, "reauth_required");
    let code = peer.ask(&URL_SAFE_NO_PAD.encode(digest::sha256(verifier.as_bytes())));
    let pair = exchange(&code, verifier).expect(201);
    due(&pair);
    client.get(PATH).expect(200);
    due(&pair);
    client.get(PATH).refused(409, "reauth_required");
}
