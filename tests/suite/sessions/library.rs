//! Calls and events through the library.

use claviger_client::{Builder, Client, Credential, Ending, State, Trust};
use claviger_tests::{Node, node::TOKEN};
use serde_json::json;

use super::{aside, url, wait};
use crate::{events, tls};

fn builder(url: &str) -> Builder {
    Client::builder([url])
        .credential(Credential::Token(TOKEN.to_owned().into()))
        .scopes(["operator.read", "operator.write"])
}

#[test]
fn what_is_called_over_a_session_is_what_rest_answers() {
    let node = Node::start();
    let rest = node.client();
    rest.post("/v1/keys", &json!({"name": "hooks", "type": "es256", "usage": "sign"})).expect(201);
    wait(async {
        let (client, _events) = builder(&url(&node)).start().unwrap();
        let hello = client.opened().await.unwrap();
        assert!(hello.methods.iter().any(|method| method == "keys.sign"), "{hello:?}");
        let signing = (0..100).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                client.call("keys.sign", json!({"name": "hooks", "input": "aGVsbG8="})).await
            })
        });
        for signed in signing.collect::<Vec<_>>() {
            let signed = signed.await.unwrap().unwrap();
            let body = json!({"name": "hooks", "input": "aGVsbG8=", "signature": signed["signature"]});
            let verified = client.call("keys.verify", body).await.unwrap();
            assert_eq!(verified["valid"], true);
        }
        let listed = client.call("keys.list", json!({})).await.unwrap();
        assert_eq!(listed, aside(|| rest.get("/v1/keys").expect(200)));
        let error = client.call("keys.get", json!({"name": "nowhere"})).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("key_not_found", false));
        // Scopes narrow what the administrator may.
        let error = client.call("keys.rotate", json!({"name": "hooks", "reason": "r"})).await.unwrap_err();
        assert_eq!(error.code, "forbidden");
    });
}

#[test]
fn a_wrong_credential_ends_the_client() {
    let node = Node::start();
    wait(async {
        let wrong = Credential::Token("clv_AAAAAAAAAAAAAAAAAAAAAA_hunter2".to_owned().into());
        let (client, mut events) = builder(&url(&node)).credential(wrong).topics(["*"]).start().unwrap();
        let why = client.opened().await.unwrap_err();
        assert!(matches!(&why, Ending::Refused { code, .. } if code == "unauthorized"), "{why:?}");
        assert!(!format!("{why:?}").contains("hunter2"));
        assert_eq!(client.state(), State::GivenUp { why });
        assert_eq!(events.next().await, None);
    });
}

#[test]
fn a_session_runs_over_tls_with_an_authority_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    tls::write_pair(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let node =
        Node::with(&[("CLAVIGER_TLS__CERT", &path("cert.pem")), ("CLAVIGER_TLS__KEY", &path("key.pem"))]);
    let url = format!("https://localhost:{}", node.address().rsplit_once(':').unwrap().1);
    let authority = std::fs::read(path("cert.pem")).unwrap();
    wait(async {
        for trust in [Trust::Only(authority.clone()), Trust::Also(authority)] {
            let (client, _events) = builder(&url).trust(trust).start().unwrap();
            client.opened().await.unwrap();
            assert!(client.call("health.get", json!({})).await.unwrap()["status"].is_string());
        }
        let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let trust = Trust::Only(stranger.cert.pem().into_bytes());
        let (client, _events) = builder(&url).trust(trust).start().unwrap();
        let why = client.opened().await.unwrap_err();
        assert!(matches!(why, Ending::Untrusted(_)), "{why:?}");
    });
}

/// A node dies while a client listens: what happened meanwhile is told once it is back, and nothing twice.
#[test]
fn nothing_is_missed_while_the_node_is_away() {
    let mut node = Node::settled(&[]);
    let rest = node.client();
    events::create(&rest, "k");
    wait(async {
        let (client, mut heard) = builder(&url(&node)).topics(["k"]).start().unwrap();
        client.opened().await.unwrap();
        aside(|| events::compromise(&rest, "k", 1));
        for (name, version) in [("key.compromised", 1), ("key.rotated", 2)] {
            let event = heard.next().await.unwrap();
            assert_eq!((event.name.as_str(), &event.payload["version"]), (name, &json!(version)));
        }
        let position = heard.position();
        node.restart();
        // Before the client comes back, which waits for more than 2 s.
        aside(|| events::rotate(&rest, "k"));
        let event = heard.next().await.unwrap();
        assert_eq!((event.name.as_str(), &event.payload["version"]), ("key.rotated", &json!(3)));
        assert!(heard.position() > position);
        // Another run that goes on from there gets what came after it alone.
        drop((client, heard));
        let (_client, mut heard) = builder(&url(&node)).topics(["k"]).since(position).start().unwrap();
        for version in [1, 2, 3] {
            assert_eq!(heard.next().await.unwrap().payload["version"], json!(version));
        }
    });
}
