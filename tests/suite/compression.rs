//! Compression of what is public and of figures, and of nothing else.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use claviger_tests::{Answer, Node};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

const COMPRESSED: [&str; 3] = ["/metrics", "/openapi.json", "/.well-known/jwks.json"];
const TAKES: (&str, &str) = ("Accept-Encoding", "gzip, deflate, br, zstd, *;q=0.1");

/// Head and body of an answer, as they came.
fn raw(node: &Node, path: &str, more: &str) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(node.address()).unwrap();
    let token = claviger_tests::node::TOKEN;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{more}\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap().to_ascii_lowercase();
    (head, all[end + 4..].to_vec())
}

fn tag(head: &str) -> Option<&str> {
    head.lines().find_map(|line| line.strip_prefix("etag: "))
}

#[test]
fn three_answers_are_compressed_for_whoever_takes_it() {
    let node = Node::start();
    for path in COMPRESSED {
        let (head, plain) = raw(&node, path, "");
        assert!(head.contains("\r\nvary: accept-encoding") && !head.contains("content-encoding"), "{head}");
        let (head, body) = raw(&node, path, "Accept-Encoding: br, gzip\r\n");
        assert!(
            head.contains("\r\nvary: accept-encoding") && head.contains("\r\ncontent-encoding: gzip"),
            "{head}"
        );
        let mut text = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut text).unwrap();
        if path != "/metrics" {
            assert_eq!(text, plain, "{path}");
        }
        assert!(
            text.len() > 500 && body.len() * 4 < text.len() * 3 || path.ends_with("jwks.json"),
            "{path}: {} of {}",
            body.len(),
            text.len()
        );
        let (head, _) = raw(&node, path, "Accept-Encoding: gzip;q=0, br\r\n");
        assert!(!head.contains("content-encoding"), "{head}");
    }
    // Each form of the set has its own tag, and whoever has either knows the set.
    let (plain, _) = raw(&node, COMPRESSED[2], "");
    let (gzip, _) = raw(&node, COMPRESSED[2], "Accept-Encoding: gzip\r\n");
    assert_ne!(tag(&plain), tag(&gzip));
    for known in [&plain, &gzip] {
        // Letters count in a tag, and the heads above are in small ones.
        let tag = node.client().send(
            "GET",
            COMPRESSED[2],
            None,
            if known == &gzip { &[("Accept-Encoding", "gzip")] } else { &[] },
        );
        let tag = format!("If-None-Match: {}\r\n", tag.header("etag"));
        for takes in ["", "Accept-Encoding: gzip\r\n"] {
            let (head, body) = raw(&node, COMPRESSED[2], &format!("{tag}{takes}"));
            assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{head}");
        }
    }
}

/// BREACH: where a caller's text and a secret are in one answer, its length must not tell how much they have in common.
#[test]
fn nothing_else_is_compressed_whatever_is_asked_for() {
    let node = Node::start();
    let client = node.client();
    for (name, kind) in [("k", "aes256-gcm"), ("t", "es256")] {
        client.post("/v1/keys", &json!({"name": name, "type": kind})).expect(201);
    }
    let is_plain = |what: &str, answer: &Answer| {
        assert_eq!(answer.header("content-encoding"), "", "{what}");
        assert!(!answer.header("vary").to_ascii_lowercase().contains("accept-encoding"), "{what}");
    };
    let send = |method: &str, path: &str, body: &Value| {
        client.send(method, path, Some(body.to_string().into_bytes()), &[TAKES])
    };
    let document = client.get("/openapi.json").json();
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let is_stream = path == "/v1/ws" || path.starts_with("/sockets/") || path == "/v1/events";
            if COMPRESSED.contains(&path.as_str()) || is_stream || method == "DELETE" {
                continue;
            }
            let path = path
                .replace("{name}", "t")
                .replace("{version}", "1")
                .replace("{owner}", "o")
                .replace("{user}", "u");
            is_plain(&path, &send(&method, &path, &json!({})));
            is_plain(&path, &client.with_token(None).send(&method, &path, None, &[TAKES]));
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
    // Long answers that succeed.
    let plaintext = "a".repeat(40_000);
    for (path, body) in [
        ("/v1/keys/k/encrypt", json!({"plaintext": plaintext})),
        ("/v1/random", json!({"bytes": 1_024})),
        ("/v1/tokens", json!({"key": "t", "claims": {"text": plaintext}})),
    ] {
        let answer = send("POST", path, &body);
        assert!(answer.status < 300, "{path}: {}", answer.text);
        is_plain(path, &answer);
    }
}
