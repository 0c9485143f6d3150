//! Credentials that lie about are found, named, and never shown.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use claviger_tests::{Node, node};
use serde_json::{Value, json};

struct Ran {
    code: Option<i32>,
    text: String,
    error: String,
}

fn scan(of: &Node, token: &str, arguments: &[&str], input: &[u8], folder: &Path) -> Ran {
    let mut child = Command::new(node::binary())
        .arg("scan")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("CLAVIGER_URL", format!("http://{}", of.address()))
        .env("CLAVIGER_TOKEN", token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _gone = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), text: text(output.stdout), error: text(output.stderr) }
}

#[test]
fn what_lies_about_is_found_and_the_command_ends_it() {
    let node = Node::start();
    let admin = node.client();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let key = |name: &str| {
        let made = admin.post("/v1/api-keys", &json!({"name": name, "roles": ["signer"]})).expect(201);
        (text(&made["id"]), text(&made["secret"]))
    };
    let (live, dead) = (key("live"), key("dead"));
    assert_eq!(admin.delete(&format!("/v1/api-keys/{}", dead.0)).status, 204);
    let pair = admin.post("/v1/tokens", &json!({"subject": "s", "refresh": true})).expect(201);
    let revoked = admin.post("/v1/tokens", &json!({"subject": "s"})).expect(201);
    admin.post("/v1/tokens/revoke", &json!({"token": revoked["token"]})).expect(200);
    let legacy = "an-old-secret-of-some-system-0123456789";
    let imported = json!({"name": "old", "type": "hs256", "legacy_secret": legacy});
    admin.post("/v1/keys/import", &imported).expect(201);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("repo")).unwrap();
    std::fs::write(at("repo/.env"), format!("A=1\nTOKEN={}\nOLD={}\n", live.1, dead.1)).unwrap();
    std::fs::write(
        at("repo/code.rs"),
        format!("let t = \"{}\";\nlet r = \"{}\";\n", text(&pair["token"]), text(&pair["refresh_token"])),
    )
    .unwrap();
    std::fs::write(at("repo/notes"), format!("{}\nsecret: '{legacy}'\n", text(&revoked["token"]))).unwrap();
    std::fs::write(at("repo/image"), format!("\0{}", live.1)).unwrap();
    let ran = scan(&node, node::TOKEN, &["repo", "--json"], b"", folder.path());
    assert_eq!(ran.code, Some(1), "{}", ran.error);
    let answer: Value = serde_json::from_str(&ran.text).unwrap();
    assert_eq!((&answer["files"], &answer["skipped"]), (&json!(3), &json!(1)));
    let findings = answer["findings"].as_array().unwrap();
    let found = |file: &str, line: u64| {
        let found = findings.iter().find(|one| one["file"] == file && one["line"] == line);
        found.unwrap_or_else(|| panic!("{file}:{line}: {answer}"))
    };
    let said = |file, line| (found(file, line)["kind"].clone(), found(file, line)["live"].clone());
    assert_eq!(said("repo/.env", 2), (json!("api_key"), json!(true)));
    assert_eq!(said("repo/.env", 3), (json!("api_key"), json!(false)));
    assert_eq!(said("repo/code.rs", 1), (json!("token"), json!(true)));
    assert_eq!(said("repo/code.rs", 2), (json!("refresh_token"), json!(true)));
    assert_eq!(said("repo/notes", 1), (json!("token"), json!(false)));
    assert_eq!(said("repo/notes", 2), (json!("legacy_secret"), json!(true)));
    assert_eq!(found("repo/.env", 2)["revoke"], format!("claviger api-keys rotate {}", live.0));
    // Nothing of what was found is shown or kept.
    let secrets =
        [&live.1, &dead.1, &text(&pair["token"]), &text(&pair["refresh_token"]), &legacy.to_owned()];
    let lines = scan(&node, node::TOKEN, &["repo"], b"", folder.path());
    assert_eq!((lines.code, lines.text.lines().count()), (Some(1), 6), "{}", lines.text);
    let log = serde_json::to_string(&node.records()).unwrap() + &node.log();
    for secret in secrets {
        let tail = &secret[secret.len() - 12..];
        assert!(
            !ran.text.contains(tail) && !lines.text.contains(tail) && !log.contains(tail),
            "{}",
            lines.text
        );
    }
    // An environment, on standard input; and nothing.
    let dump = format!("PATH=/bin\nTOKEN={}\n", live.1);
    let ran = scan(&node, node::TOKEN, &["-"], dump.as_bytes(), folder.path());
    assert!(ran.code == Some(1) && ran.text.starts_with("-:2: api key clv_"), "{}", ran.text);
    admin.post(&format!("/v1/api-keys/{}/rotate", live.0), &json!({})).expect(200);
    let ran = scan(&node, node::TOKEN, &["-"], dump.as_bytes(), folder.path());
    assert_eq!((ran.code, ran.text.contains("not live")), (Some(0), true), "{}", ran.text);
    let ran = scan(&node, node::TOKEN, &["-"], b"nothing here", folder.path());
    assert_eq!((ran.code, ran.text.as_str()), (Some(0), ""));
    // What can't be looked at is no answer.
    assert_eq!(scan(&node, node::TOKEN, &["none"], b"", folder.path()).code, Some(2));
    assert_eq!(scan(&node, &dead.1, &["repo"], b"", folder.path()).code, Some(2));
}

/// P8, P9: whoever may not ask learns nothing, and what is too much is refused.
#[test]
fn p9_candidates_are_bounded() {
    let node = Node::start();
    let admin = node.client();
    let many = vec!["clv_x"; 1_001];
    admin.post("/v1/scan", &json!({"candidates": many})).refused(400, "invalid_request");
    admin.post("/v1/scan", &json!({"candidates": ["x".repeat(20_000)]})).refused(400, "invalid_request");
    admin.post("/v1/scan", &json!({})).refused(400, "invalid_request");
    let strange =
        json!({"candidates": ["", ".", "..", "clv_", "clvd_", "clvr_", "eyJ.eyJ.x", "\u{0}", "a.b.c.d.e"]});
    let answer = admin.post("/v1/scan", &strange).expect(200);
    let results = answer["results"].as_array().unwrap();
    assert!(results.len() == 9 && results.iter().all(|result| result["live"] == false), "{answer}");
}
