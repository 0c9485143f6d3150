//! A real OpenID provider as the issuer (npm `oidc-provider`).

use serde_json::json;

use super::{
    issuers::{trusting, until_status},
    peer::Peer,
};

/// A token under the key of an algorithm, once keys of these are published.
fn token(peer: &mut Peer, published: &str, algorithm: &str) -> String {
    let token = peer.ask(&format!("{published} {algorithm}"));
    assert_eq!(token.matches('.').count(), 2, "{token}");
    token
}

#[test]
fn tokens_of_a_real_provider_are_credentials_while_it_changes_its_keys() {
    let mut provider = Peer::start("provider.mjs");
    let node = trusting(provider.issuer(), json!({"roles": {"job": ["verifier"]}}));
    let bearer = |token: &str| node.client().with_token(Some(token));
    let first = token(&mut provider, "RS256", "RS256");
    bearer(&first).get("/v1/keys").expect(200);
    // Its scope is a word.
    bearer(&first).get("/v1/policies").refused(403, "forbidden");
    for (published, algorithm) in [("RS256,ES256", "ES256"), ("RS256,PS256", "PS256"), ("EdDSA", "EdDSA")] {
        until_status(&bearer(&token(&mut provider, published, algorithm)), 200);
    }
    bearer(&first).get("/v1/keys").refused(401, "unauthorized");
}
