//! A workload that mirrors the public keys: paired, recognised by its device, kept up to date.

use std::{path::Path, time::Duration};

use claviger_client::{Builder, Client, Credential, Ending, Mirror, Mode, Role};
use claviger_tests::{Node, node::TOKEN};
use serde_json::{Value, json};

use super::{aside, url, wait};
use crate::events;

fn workload(node: &Node, device: &Path) -> Builder {
    let builder = Client::builder([url(node)]).introduce("gateway", Mode::Node);
    builder.role(Role::Node).scopes(["node.sync"]).device(device)
}

async fn until(mirror: &Mirror, what: impl Fn(&Mirror) -> bool) {
    while !what(mirror) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn kids(jwks: &Value) -> Vec<String> {
    let keys = jwks["keys"].as_array().unwrap();
    let mut kids: Vec<_> = keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    kids.sort();
    kids
}

#[test]
fn a_workload_is_paired_and_its_mirror_is_the_jwks() {
    let mut node = Node::settled(&[]);
    let (rest, folder) = (node.client(), tempfile::tempdir().unwrap());
    let device = folder.path().join("device.pem");
    events::create(&rest, "k");
    wait(async {
        let token = || Credential::Token(TOKEN.to_owned().into());
        let (client, _events) = workload(&node, &device).credential(token()).start().unwrap();
        let Ending::Refused { code, request_id, .. } = client.opened().await.unwrap_err() else {
            panic!("it is not paired");
        };
        assert_eq!(code, "pairing_required");
        let request = request_id.unwrap();
        let path = format!("/v1/devices/requests/{request}/approve");
        let approved = aside(|| rest.post(&path, &json!({})).expect(200));
        assert_eq!(approved["id"].as_str(), client.device_id());
        let (client, _events) = workload(&node, &device).credential(token()).start().unwrap();
        client.opened().await.unwrap();
        let kept = std::fs::read_to_string(folder.path().join("device.pem.node.token")).unwrap();
        assert!(kept.starts_with("clvd_"));
        drop(client);

        // From now on it is recognised by the token of its device, which reaches as far as its scope and no farther.
        let (client, mut heard) = workload(&node, &device).start().unwrap();
        let mirror = client.mirror();
        until(&mirror, |mirror| mirror.jwks().is_some()).await;
        let served =
            |rest: &claviger_tests::Client| kids(&aside(|| rest.get("/.well-known/jwks.json").json()));
        assert_eq!(kids(&mirror.jwks().unwrap()), served(&rest));
        assert_eq!(heard.next().await.unwrap().name, "ring.sync");
        let error = client.call("keys.list", json!({})).await.unwrap_err();
        assert_eq!(error.code, "forbidden");

        // What is compromised leaves the mirror at once, and what takes its place as standby comes soon.
        let before = served(&rest);
        aside(|| events::compromise(&rest, "k", 1));
        assert_eq!(heard.next().await.unwrap().name, "key.compromised");
        until(&mirror, |mirror| mirror.ring().unwrap().keys()["k"].primary_version == Some(2)).await;
        let now = kids(&mirror.jwks().unwrap());
        assert!(now.len() < before.len() || now != before, "{now:?}");
        until(&mirror, |mirror| kids(&mirror.jwks().unwrap()) == served(&rest)).await;
        assert_eq!(heard.next().await.unwrap().name, "key.rotated");

        // The node dies, and the mirror goes on where it was.
        node.restart();
        let epoch = aside(|| events::rotate(&rest, "k")["epoch"].as_u64());
        let event = heard.next().await.unwrap();
        assert_eq!((event.name.as_str(), event.epoch), ("key.rotated", epoch));
        until(&mirror, |mirror| mirror.epoch() >= epoch).await;
        until(&mirror, |mirror| kids(&mirror.jwks().unwrap()) == served(&rest)).await;

        // A device that is removed is nobody any more.
        let id = client.device_id().unwrap().to_owned();
        assert_eq!(aside(|| rest.delete(&format!("/v1/devices/{id}")).status), 204);
        loop {
            if let claviger_client::State::GivenUp { why } = client.state() {
                assert!(matches!(&why, Ending::Refused { code, .. } if code == "unauthorized"), "{why}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(!node.log().contains("clvd_"));
}
