//! `claviger audit verify`, on logs that nobody serves.

use std::{fs, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use claviger_actors::audit::{
    about::Anchor,
    directory,
    log::{Log, Options},
    signed::{Signer, Signing},
};
use claviger_crypto::{jwk, material::Material, prepared::PreparedKey};
use claviger_entity::KeyType;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ran, run};

struct OwnKey(Signing);

impl OwnKey {
    fn new() -> Self {
        let material = Material::generate(KeyType::Eddsa, None).unwrap();
        let spki = material.public_spki.unwrap();
        Self(Signing {
            kid: material.kid.as_str().into(),
            jwk: jwk::public_jwk(KeyType::Eddsa, &spki, &material.kid).unwrap().into(),
            key: Arc::new(PreparedKey::new(KeyType::Eddsa, &material.secret).unwrap()),
            epoch: 1,
        })
    }
}

impl Signer for OwnKey {
    fn signing(&self) -> Option<Signing> {
        Some(self.0.clone())
    }
}

/// A folder with a log in `data/audit`, where the configuration looks for it, its key in `key.json`, and its checkpoints.
fn deployment() -> (TempDir, Vec<Anchor>) {
    let folder = tempfile::tempdir().unwrap();
    let key = OwnKey::new();
    fs::write(folder.path().join("key.json"), json!({ "keys": [key.0.jwk] }).to_string()).unwrap();
    let now: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let options = Options {
        directory: folder.path().join("data/audit"),
        node: "n1".to_owned(),
        version: "0".to_owned(),
        level: "full",
        segment_bytes: 8_192,
        checkpoint_lines: 20,
        checkpoint_interval: Duration::from_secs(5),
        sync: false,
    };
    let mut log = Log::open(options, Arc::new(key), None, now).unwrap();
    let mut anchors = Vec::new();
    for n in 0..200 {
        let record = json!({ "ts": now, "event": "encrypt", "key": "orders", "n": n }).to_string();
        anchors.extend(log.append(std::iter::once(record.as_bytes()), now).unwrap());
    }
    anchors.extend(log.checkpoint(now).unwrap());
    (folder, anchors)
}

fn verify(folder: &Path, options: &[&str]) -> Ran {
    run(folder, &[&["audit", "verify"], options].concat(), b"", &[])
}

fn segments(folder: &Path) -> Vec<directory::Closed> {
    directory::list(&folder.join("data/audit")).unwrap().closed
}

#[test]
fn a_whole_log_exits_with_0_and_says_whose_keys_were_trusted() {
    let (folder, anchors) = deployment();
    for options in [&[][..], &["data/audit"]] {
        let ran = verify(folder.path(), options);
        assert_eq!((ran.code, ran.error.as_str()), (Some(0), ""), "{}", ran.text());
        assert!(
            ran.text().contains("not pinned") && ran.text().ends_with("the audit log is whole\n"),
            "{}",
            ran.text()
        );
    }
    let lines: Vec<_> = anchors.iter().map(|anchor| anchor.line.clone() + "\n").collect();
    fs::write(folder.path().join("anchors"), lines.concat()).unwrap();
    let report =
        verify(folder.path(), &["--public-key", "key.json", "--anchors", "anchors", "--json"]).json();
    assert_eq!((&report["whole"], &report["keys_pinned"]), (&json!(true), &json!(true)));
    assert_eq!(report["first_bad"], Value::Null);
    assert_eq!(report["anchors"]["held"], anchors.len());
    let chain = &report["chains"][0];
    assert_eq!((&chain["nodes"], &chain["unvouched"]), (&json!(["n1"]), &json!(0)));
    assert_eq!(chain["records"], chain["last_seq"]);
    assert_eq!(chain["segments"], segments(folder.path()).len() + 1);
}

#[test]
fn the_first_bad_record_is_named_and_the_exit_code_is_1() {
    let (folder, _) = deployment();
    let file = segments(folder.path())[0].path.clone();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"n\":7,", "\"n\":8,").replace("\"n\":7}", "\"n\":8}")).unwrap();
    let edited = text.lines().position(|line| line.contains("\"n\":7")).unwrap() + 1;
    let ran = verify(folder.path(), &[]);
    assert_eq!((ran.code, ran.error.as_str()), (Some(1), ""));
    let place = format!(
        "first bad record: data/audit/{}:{edited} (seq {edited}): its hash",
        file.file_name().unwrap().display()
    );
    assert!(ran.text().contains("NOT whole") && ran.text().contains(&place), "{}", ran.text());
    let report = verify(folder.path(), &["--json"]);
    assert_eq!(report.code, Some(1));
    let report: Value = serde_json::from_str(report.text()).unwrap();
    assert_eq!((&report["whole"], &report["first_bad"]["line"]), (&json!(false), &json!(edited)));
}

#[test]
fn a_log_under_another_key_or_behind_a_checkpoint_is_not_whole() {
    let (folder, _) = deployment();
    let (other, anchors) = deployment();
    let key = other.path().join("key.json");
    let ran = verify(folder.path(), &["--public-key", key.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.text().contains("none of those given"), "{}", ran.text());
    // Checkpoints of another node say nothing of this one.
    let lines = anchors.last().unwrap().line.clone() + "\n";
    fs::write(folder.path().join("anchors"), &lines).unwrap();
    fs::write(other.path().join("anchors"), lines).unwrap();
    let ran = verify(folder.path(), &["--anchors", "anchors"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.text().contains("1 are of other chains"), "{}", ran.text());
    // Everything is as it was before the last segment.
    let data = other.path().join("data/audit");
    fs::remove_file(data.join(directory::CURRENT)).unwrap();
    let last = segments(other.path()).pop().unwrap().path;
    let text = fs::read_to_string(last).unwrap();
    fs::write(data.join(directory::ANCHOR), text.lines().last().unwrap().to_owned() + "\n").unwrap();
    assert_eq!(verify(other.path(), &[]).code, Some(0));
    let ran = verify(other.path(), &["--anchors", "anchors"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.text().contains("is not in the log, which ends here"), "{}", ran.text());
}

#[test]
fn what_can_not_be_looked_at_is_no_verdict() {
    let (folder, _) = deployment();
    fs::write(folder.path().join("c.toml"), "[audit]\ndir = \"elsewhere\"\n").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (options, line) in [
        (&["absent"][..], "the audit log in absent can't be read"),
        (&["empty"], "there is no audit log in empty"),
        (&["--config", "c.toml"], "the audit log in elsewhere can't be read"),
        (&["--config", "absent"], "--config names a file"),
        (&["--public-key", "absent"], "--public-key names a file that can't be read"),
        (&["--public-key", "c.toml"], "--public-key names a file that is neither a JWK"),
        (&["--anchors", "c.toml"], "--anchors: line 1 is no checkpoint"),
    ] {
        let ran = verify(folder.path(), options);
        assert_eq!((ran.code, ran.text()), (Some(2), ""), "{options:?}");
        assert!(ran.error.starts_with(&format!("claviger: {line}")), "{}", ran.error);
        assert_eq!(ran.error.lines().count(), 1);
    }
}
