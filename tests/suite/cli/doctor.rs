//! `claviger doctor`, on planted weaknesses.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use claviger_entity::KeyType;
use claviger_tests::{
    Issuer, Node,
    issuer::{ForeignKey, KEYS},
    node,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::run;

/// A master secret and a token that nothing is wrong with.
const MASTER: &str = "q7Lw2ZtV9xKcR4mB8nHs1JyPf6GdU3oE0aTi5XbC";
const TOKEN: &str = "kJ8vQ2pX7rT4wZ1nB6mC9dF3gH5sL0yAe";

/// A file, its text if it is to be written, its mode.
type Plant<'a> = (&'a str, Option<&'a str>, u32);

/// Files and environment of a weakness, and what it is called.
type Weakness<'a> = (&'a [Plant<'a>], &'a [(&'a str, &'a str)], &'a str);

const WEAKNESSES: &[Weakness<'_>] = &[
    (&[], &[("CLAVIGER_SEAL__MASTER_KEY", "hunter2-hunter2")], "master-secret-short"),
    (&[("master", Some(MASTER), 0o644)], &[("CLAVIGER_SEAL__MASTER_KEY_FILE", "master")], "loose-file-mode"),
    (
        &[("master", Some("changeme-changeme-changeme-1234567890-xyz\n"), 0o600)],
        &[("CLAVIGER_SEAL__MASTER_KEY_FILE", "master")],
        "master-secret-weak",
    ),
    (&[("data/master.key", None, 0o640)], &[], "loose-file-mode"),
    (&[("data/claviger.db", None, 0o644)], &[], "loose-file-mode"),
    (&[("data/audit", None, 0o755)], &[], "loose-file-mode"),
    (&[("data", None, 0o755)], &[], "loose-file-mode"),
    (&[("token", Some(TOKEN), 0o604)], &[("CLAVIGER_BOOTSTRAP_TOKEN_FILE", "token")], "loose-file-mode"),
    (
        &[("key.pem", Some("key"), 0o644)],
        &[("CLAVIGER_TLS__CERT", "cert.pem"), ("CLAVIGER_TLS__KEY", "key.pem")],
        "loose-file-mode",
    ),
    (&[("c.toml", None, 0o666)], &[], "loose-file-mode"),
    (
        &[],
        &[("CLAVIGER_SERVER__LISTEN", "0.0.0.0:7420"), ("CLAVIGER_SERVER__PLAIN_HTTP", "true")],
        "listen-without-tls",
    ),
    (&[], &[("CLAVIGER_BOOTSTRAP_TOKEN", "admin-hunter-1234567890")], "token-weak"),
    (&[], &[("CLAVIGER_TOKEN", "changeme")], "token-weak"),
    (&[], &[("CLAVIGER_DATABASE__URL", "postgres://clv@127.0.0.1/clv")], "database-password-missing"),
    (&[], &[("CLAVIGER_DATABASE__URL", "postgres://clv:hunter2@127.0.0.1/d")], "database-password-weak"),
    (
        &[],
        &[("CLAVIGER_DATABASE__URL", "postgres://u:kJ8vQ2pX7rT4@h/d?sslmode=disable")],
        "database-without-tls",
    ),
    (&[], &[("CLAVIGER_SERVER__LISTN", "hunter2")], "invalid-setting"),
    (&[], &[("CLAVIGER_SERVER__WORKERS", "hunter2")], "invalid-setting"),
];

/// A deployment as a server leaves it.
fn deployment() -> TempDir {
    let node = Node::start();
    node.client().get("/v1/keys").expect(200);
    let folder = node.into_folder();
    let data = folder.path().join("data");
    plant(
        folder.path(),
        &[("c.toml", Some("[node]\nname = \"n1\"\n"), 0o644), ("data/master.key", Some(MASTER), 0o600)],
    );
    assert!(data.join("claviger.db").exists() && data.join("audit").exists());
    folder
}

fn plant(folder: &Path, plants: &[Plant<'_>]) {
    for (path, text, mode) in plants {
        let path = folder.join(path);
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        fs::set_permissions(path, Permissions::from_mode(*mode)).unwrap();
    }
}

/// Exit code, codes of the findings, and everything that was printed in either form.
fn examined(
    folder: &Path,
    environment: &[(&str, &str)],
    options: &[&str],
) -> (Option<i32>, Vec<String>, String) {
    let arguments = [&["doctor", "--config", "c.toml"], options].concat();
    let lines = run(folder, &arguments, b"", environment);
    let json = run(folder, &[&arguments[..], &["--json"]].concat(), b"", environment);
    assert_eq!((lines.code, lines.error.as_str()), (json.code, ""), "{}", lines.error);
    let report: Value = serde_json::from_slice(&json.output).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(
        report["errors"].as_u64().unwrap() + report["warnings"].as_u64().unwrap(),
        findings.len() as u64
    );
    assert_eq!(lines.text().lines().count(), findings.len().max(1));
    for (line, finding) in lines.text().lines().zip(findings) {
        let member = |name: &str| finding[name].as_str().unwrap();
        let expected =
            format!("{}: {}: {} {}", member("severity"), member("code"), member("setting"), member("detail"));
        assert_eq!(line, expected);
    }
    let codes = findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
    (lines.code, codes, format!("{}{}", lines.text(), json.text()))
}

#[test]
fn a_sound_deployment_passes() {
    let folder = deployment();
    let (code, codes, printed) = examined(folder.path(), &[("CLAVIGER_TOKEN", TOKEN)], &["--strict"]);
    assert_eq!((code, codes), (Some(0), Vec::new()), "{printed}");
    assert!(printed.starts_with("nothing found\n"), "{printed}");
    // Before the first start, too.
    let empty = tempfile::tempdir().unwrap();
    let ran = run(empty.path(), &["doctor"], b"", &[]);
    assert_eq!((ran.code, ran.text()), (Some(0), "nothing found\n"));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "something was written");
}

#[test]
fn what_serve_generates_is_sound_but_for_the_token_that_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = node::command(folder.path())
        .env("CLAVIGER_SERVER__LISTEN", "127.0.0.1:0")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.map(Result::unwrap).any(|line| line.contains("listening")));
    let doctor = |options: &[&str]| run(folder.path(), &[&["doctor"], options].concat(), b"", &[]);
    let ran = doctor(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.text());
    assert!(ran.text().starts_with("warning: bootstrap-token-left: bootstrap_token "), "{}", ran.text());
    assert_eq!(ran.text().lines().count(), 1, "{}", ran.text());
    assert_eq!(doctor(&["--strict"]).code, Some(1));
    fs::remove_file(folder.path().join("data/bootstrap.token")).unwrap();
    assert_eq!(doctor(&["--strict"]).text(), "nothing found\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn each_weakness_is_named_and_fails() {
    for (plants, environment, code) in WEAKNESSES {
        let folder = deployment();
        plant(folder.path(), plants);
        let (exit, codes, printed) = examined(folder.path(), environment, &[]);
        assert_eq!(exit, Some(1), "{code}: {printed}");
        // This release serves no PostgreSQL and a short token may be one too few; both are said beside.
        let others = codes.iter().filter(|found| found != code && *found != "invalid-setting");
        assert!(codes.iter().any(|found| found == code) && others.count() == 0, "{code}: {printed}");
        let mut names =
            plants.iter().map(|plant| plant.0).chain(environment.iter().map(|variable| variable.0));
        let is_named = |name: &str| printed.contains(name) || name == "CLAVIGER_SERVER__LISTEN";
        assert!(names.any(is_named), "{code}: {printed}");
        assert!(
            !printed.contains("hunter2") && !printed.contains(MASTER) && !printed.contains(TOKEN),
            "{printed}"
        );
    }
}

#[test]
fn all_weaknesses_are_named_at_once() {
    let folder = deployment();
    let mut environment = std::collections::BTreeMap::new();
    for (plants, variables, _) in WEAKNESSES {
        plant(folder.path(), plants);
        environment.extend(variables.iter().copied());
    }
    plant(folder.path(), &[("data/bootstrap.token", Some("letmein"), 0o644)]);
    // A setting is given once, in the form that hides nothing else.
    environment.remove("CLAVIGER_SEAL__MASTER_KEY");
    environment.remove("CLAVIGER_BOOTSTRAP_TOKEN_FILE");
    environment.remove("CLAVIGER_TLS__CERT");
    environment.insert("CLAVIGER_DATABASE__URL", "postgres://clv:hunter2@h/d?sslmode=disable");
    let environment: Vec<_> = environment.into_iter().collect();
    let (exit, codes, printed) = examined(folder.path(), &environment, &[]);
    assert_eq!(exit, Some(1));
    let wanted = WEAKNESSES.iter().map(|weakness| weakness.2).chain(["bootstrap-token-left"]);
    for code in wanted.filter(|code| !["master-secret-short", "database-password-missing"].contains(code)) {
        assert!(codes.iter().any(|found| found == code), "{code}: {printed}");
    }
    for named in
        ["data/master.key", "data/claviger.db", "data/audit", "data/bootstrap.token", "key.pem", "c.toml"]
    {
        assert!(printed.contains(named), "{named}: {printed}");
    }
    for secret in ["hunter2", "changeme", "letmein", MASTER, TOKEN] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
}

#[test]
fn issuers_are_asked_for_their_keys() {
    let folder = deployment();
    let key = ForeignKey::new(KeyType::Es256, "k");
    let (good, bad) = (Issuer::with(&[&key]), Issuer::start());
    let members = |issuer: &Issuer| json!({"issuer": issuer.url(), "audience": "kms"});
    let issuers = json!({"good": members(&good), "bad": members(&bad)}).to_string();
    let (code, codes, printed) = examined(folder.path(), &[("CLAVIGER_ISSUERS", &issuers)], &[]);
    assert_eq!((code, codes), (Some(0), vec!["issuer-without-keys".to_owned()]), "{printed}");
    assert!(printed.contains("issuers.bad ") && printed.contains("status 404"), "{printed}");
    assert!(good.asked(KEYS) > 0);
}
