//! Bad configuration stops the start with one line that names the setting.

use std::collections::BTreeSet;

use claviger_tests::{Node, node};

#[test]
fn the_start_stops_with_one_line() {
    let weak = "a".repeat(40);
    let table: [&[(&str, &str)]; 7] = [
        &[("CLAVIGER_NONSENSE", "1")],
        &[("CLAVIGER_SERVER__NONSENSE", "1")],
        &[("CLAVIGER_SEAL__MASTER_KEY", "short-hunter2")],
        &[("CLAVIGER_SEAL__MASTER_KEY", &weak)],
        &[("CLAVIGER_SEAL__MASTER_KEY", node::MASTER), ("CLAVIGER_SEAL__MASTER_KEY_FILE", "/dev/null")],
        &[("CLAVIGER_SERVER__LISTEN", "hunter2")],
        &[("CLAVIGER_DATABASE__URL", "postgres://user:hunter2@host/db")],
    ];
    for environment in table {
        let folder = tempfile::tempdir().unwrap();
        let (code, log) = node::refused_start(folder.path(), environment);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(environment[0].0) && !log.contains("hunter2"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");
    }
}

#[test]
fn one_process_serves_a_database() {
    let node = Node::start();
    let (code, log) = node::refused_start(node.folder(), &[("CLAVIGER_SEAL__MASTER_KEY", node::MASTER)]);
    assert_eq!(code, Some(1));
    assert!(log.contains("database.url") && log.contains("another process"), "{log}");
    node.client().get("/v1/keys").expect(200);
}

#[test]
fn generated_secrets_are_private_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    std::fs::write(&config, "[server]\nlisten = \"127.0.0.1:0\"\n[node]\nname = \"n1\"\n").unwrap();
    let mut child = node::command(folder.path())
        .arg("--config")
        .arg(&config)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("bootstrap_token") && first.contains("data/bootstrap.token"), "{first}");
    let address: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    for file in ["data/master.key", "data/bootstrap.token", "data/claviger.db"] {
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
    let token = std::fs::read_to_string(folder.path().join("data/bootstrap.token")).unwrap();
    let base = format!("http://{}", address["address"].as_str().unwrap());
    claviger_tests::Client::new(base, Some(token.trim().to_owned())).get("/v1/keys").expect(200);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_bootstrap_token_means_nothing_once_there_is_an_administrator() {
    let node = Node::start();
    let folder = node.into_folder();
    let node = Node::within(folder, &[("CLAVIGER_BOOTSTRAP_TOKEN", "another-bootstrap-token")]);
    node.client().get("/v1/keys").expect(200);
    node.client().with_token(Some("another-bootstrap-token")).get("/v1/keys").refused(401, "unauthorized");
}

#[test]
fn termination_is_graceful() {
    let mut node = Node::start();
    let client = node.client();
    client.get("/v1/keys").expect(200);
    drop(client);
    let status = node.terminate();
    assert_eq!(status.code(), Some(0), "{}", node.log());
    let wal = node.folder().join("data/claviger.db-wal");
    assert!(!wal.exists(), "the WAL was not folded in");
    node.restart();
    node.client().get("/v1/keys").expect(200);
}

/// The reference names every setting that there is, and no other.
#[test]
fn the_reference_is_whole() {
    let layers = include_str!("../../service/config/src/layers.rs");
    let settings: BTreeSet<&str> = layers
        .lines()
        .filter_map(|line| line.strip_prefix("    (\"")?.split_once("\", "))
        .filter(|(_, holds)| ["Plain", "Password", "Secret"].iter().any(|kind| holds.starts_with(kind)))
        .map(|(setting, _)| setting)
        .collect();
    assert!(settings.len() > 60 && settings.contains("server.listen"), "{settings:?}");
    let reference = include_str!("../../docs/configuration.md");
    let cells = reference.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let named: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(|name| if name == "CLAVIGER_BOOTSTRAP_TOKEN" { "bootstrap_token" } else { name })
        .collect();
    let missing: Vec<_> = settings.difference(&named).collect();
    assert!(missing.is_empty(), "not in docs/configuration.md: {missing:?}");
    let unknown: Vec<_> = named.difference(&settings).filter(|name| name.contains('.')).collect();
    assert!(unknown.is_empty(), "docs/configuration.md names what is no setting: {unknown:?}");
}
