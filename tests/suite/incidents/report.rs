//! What auditors get.

use claviger_tests::{Node, node};
use serde_json::{Value, json};

use super::opened;
use crate::access::api_key;

fn report(of: &Node, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(node::binary())
        .arg("report")
        .args(arguments)
        .current_dir(of.folder())
        .env_clear()
        .env("CLAVIGER_URL", format!("http://{}", of.address()))
        .env("CLAVIGER_TOKEN", node::TOKEN)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_report_has_what_an_auditor_asks_for_in_every_format() {
    let node = Node::start();
    let admin = node.client();
    admin.post("/v1/keys", &json!({"name": "billing", "type": "es256"})).expect(201);
    admin.post("/v1/api-keys", &json!({"name": "app", "roles": ["signer"]})).expect(201);
    let reason = "<script>alert(1)</script> in a <repository> | log";
    let incident = opened(&admin, &json!({"key": "billing", "reason": reason}));
    let (code, text, error) = report(&node, &["--format", "json"]);
    assert_eq!(code, Some(0), "{error}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let key = answer["keys"].as_array().unwrap().iter().find(|key| key["name"] == "billing").unwrap();
    assert_eq!(
        (&key["overdue"], &key["compromised"], &key["tier"]),
        (&json!(false), &json!(1), &json!("signing"))
    );
    assert_eq!(key["cryptoperiod_seconds"], 90 * 86_400);
    assert_eq!(
        (&answer["audit_log"]["valid"], &answer["incidents"][0]["id"]),
        (&json!(true), &incident["id"])
    );
    let signer = answer["principals"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["roles"] == json!(["signer"]))
        .unwrap();
    let may: Vec<&str> =
        signer["permissions"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert!(may.contains(&"token.issue") && !may.contains(&"key.rotate"), "{may:?}");
    let (code, markdown, _) = report(&node, &[]);
    assert!(code == Some(0) && markdown.contains("| billing | es256 | signing | 90.0 d |"), "{markdown}");
    assert!(!markdown.contains("<script>") && markdown.contains(r"&lt;repository&gt; \| log"), "{markdown}");
    let file = node.folder().join("report.html");
    let (code, text, error) = report(&node, &["--format", "html", "--output", file.to_str().unwrap()]);
    assert_eq!((code, text.as_str()), (Some(0), ""), "{error}");
    let html = std::fs::read_to_string(file).unwrap();
    assert!(
        !html.contains("<script") && html.contains("<svg") && html.contains("&lt;repository&gt;"),
        "{html}"
    );
    let (_, operator) = api_key(&admin, &["operator"]);
    operator.get("/v1/report").refused(403, "forbidden");
}
