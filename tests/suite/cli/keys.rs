//! `claviger keys`.

use claviger_tests::Node;
use serde_json::json;

use super::on;

#[test]
fn a_key_is_created_changed_and_deleted() {
    let node = Node::start();
    let made = on(
        &node,
        "keys create orders --type aes256-gcm --tier data --every 40d --lead 10s --label team=shop --label env=dev \
         --description Orders --exportable",
        b"",
    )
    .json();
    assert_eq!(made["labels"], json!({"team": "shop", "env": "dev"}));
    assert_eq!((&made["rotation"]["every"], &made["rotation"]["lead"]), (&json!("40d"), &json!("10s")));
    assert_eq!((&made["exportable"], &made["deletion_allowed"]), (&json!(true), &json!(false)));
    assert_eq!(on(&node, "keys get orders", b"").json()["name"], "orders");
    on(&node, "keys create orders --type es256", b"").refused("key_exists: ");
    on(&node, "keys get absent", b"").refused("key_not_found: ");
    on(&node, "keys delete orders", b"").refused("key_state_conflict: ");
    let changed =
        on(&node, "keys update orders --patch {\"deletion_allowed\":true,\"labels\":{\"env\":null}}", b"");
    assert_eq!(changed.json()["labels"], json!({"team": "shop"}));
    assert!(on(&node, "keys delete orders --after 8d", b"").json()["deletion_at"].is_string());
    assert!(on(&node, "keys restore orders", b"").json()["deletion_at"].is_null());
    let recipient = age::x25519::Identity::generate().to_public();
    let exported = on(&node, &format!("keys export orders --recipient {recipient}"), b"").json();
    assert!(exported["ciphertext"].as_str().unwrap().starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
}

#[test]
fn listings_are_followed_to_their_end() {
    let node = Node::start();
    for number in 0..101 {
        let body =
            json!({"name": format!("k{number}"), "type": "aes256-gcm", "labels": {"n": number.to_string()}});
        node.client().post("/v1/keys", &body).expect(201);
    }
    let listed = |line: &str| on(&node, line, b"").json()["items"].as_array().unwrap().len();
    assert_eq!(listed("keys list"), 104);
    assert_eq!(listed("keys list --tier signing"), 1);
    assert_eq!(listed("keys list --label n=7"), 1);
    assert_eq!(listed("keys list --label n --tier data"), 101);
    for _ in 0..100 {
        let body = json!({"force": true, "reason": "many versions"});
        node.client().post("/v1/keys/k7/rotate", &body).expect(200);
    }
    assert_eq!(listed("keys versions k7"), 102);
}

#[test]
fn versions_change_with_a_reason() {
    let node = Node::start();
    on(&node, "keys create k --type es256", b"").json();
    on(&node, "keys rotate k", b"").refused("standby_too_young: ");
    let rotated = on(&node, "keys rotate k --force --reason test --consistency strong", b"").json();
    assert_eq!(rotated["version"], 2);
    on(&node, "keys suspend k 1 --reason test", b"").json();
    on(&node, "keys resume k 1 --reason test", b"").json();
    on(&node, "keys compromise k 1 --reason test --exposure version", b"").json();
    on(&node, "keys compromise k 2 --reason test --exposure store", b"").json();
    on(&node, "keys destroy k 1 --reason test", b"").json();
    let versions = on(&node, "keys versions k", b"").json();
    let state = |number: u64| {
        let versions = versions["items"].as_array().unwrap();
        versions.iter().find(|version| version["version"] == number).unwrap()["state"].clone()
    };
    assert_eq!((state(1), state(2)), (json!("destroyed"), json!("compromised")));
    let jwks = on(&node, "keys jwks k", b"").json();
    assert!(!jwks["keys"].as_array().unwrap().is_empty());
    on(&node, "keys suspend k 99 --reason test", b"").refused("version_not_found: ");
}

#[test]
fn data_passes_through_standard_input_and_output() {
    let node = Node::start();
    on(&node, "keys create k --type aes256-gcm", b"").json();
    let plaintext = b"\x00\xff not text\n";
    let sealed = on(&node, "keys encrypt k --context c", plaintext);
    assert_eq!(sealed.code, Some(0), "{}", sealed.error);
    // The answer of one command is the input of the next; so is the bare ciphertext.
    let opened = on(&node, "keys decrypt k --context c", &sealed.output);
    assert_eq!((opened.code, opened.output.as_slice()), (Some(0), &plaintext[..]));
    on(&node, "keys rotate k --force --reason test", b"").json();
    let rewrapped = on(&node, "keys rewrap k --context c", &sealed.output).json();
    let kid = |answer: &[u8]| serde_json::from_slice::<serde_json::Value>(answer).unwrap()["kid"].clone();
    assert_ne!(rewrapped["kid"], kid(&sealed.output));
    std::fs::write(node.folder().join("sealed"), format!("{}\n", rewrapped["ciphertext"].as_str().unwrap()))
        .unwrap();
    assert_eq!(on(&node, "keys decrypt k --context c --file sealed", b"").output, plaintext);
    on(&node, "keys decrypt k --context d --file sealed", b"").refused("decryption_failed: ");
    on(&node, "keys decrypt k", b"").refused("the input must be a ciphertext");
    on(&node, "keys decrypt k --file absent", b"").refused("--file names a file that can't be read");
}

#[test]
fn the_verdict_is_the_exit_code() {
    let node = Node::start();
    on(&node, "keys create s --type es256 --usage sign", b"").json();
    on(&node, "keys create m --type hmac-sha256", b"").json();
    for (key, operation, member) in [("s", "sign", "signature"), ("m", "hmac", "hmac")] {
        let made = on(&node, &format!("keys {operation} {key}"), b"input").json();
        let line = format!("keys verify {key} --{member} {}", made[member].as_str().unwrap());
        assert_eq!(on(&node, &line, b"input").json()["valid"], true);
        let line = format!("{line} --kid {}", made["kid"].as_str().unwrap());
        assert_eq!(on(&node, &line, b"input").json()["valid"], true);
        let wrong = on(&node, &line, b"other input");
        assert_eq!((wrong.code, wrong.error.as_str()), (Some(1), ""));
        assert!(wrong.text().contains("\"valid\": false"), "{}", wrong.text());
    }
}

#[test]
fn imports_come_from_files_or_standard_input() {
    let node = Node::start();
    let made = on(
        &node,
        "keys import raw --type aes256-gcm --material-file - --kid old",
        b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n",
    );
    assert_eq!(made.json()["versions"].as_array().unwrap().last().unwrap()["kid"], "old");
    std::fs::write(node.folder().join("legacy"), "the legacy secret of a system\n").unwrap();
    let made = on(&node, "keys import legacy --type hs256 --legacy-secret-file legacy", b"").json();
    assert!(!made["warnings"].as_array().unwrap().is_empty());
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    on(&node, "keys import pair --type es256 --material-file -", pem.as_bytes()).json();
    on(&node, "keys import bad --type aes256-gcm --material-file -", b"hunter2").refused("invalid_request: ");
    on(&node, "keys import bad --type aes256-gcm --material-file -", b"\xff")
        .refused("--material-file holds no UTF-8");
}
