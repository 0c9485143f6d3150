//! A backup is restored elsewhere: from a file to a server and back, under a passphrase or a recipient, with a stream in between.

use std::{fs, os::unix::fs::PermissionsExt as _};

use claviger_tests::{Node, Postgres, cluster};
use serde_json::json;

use super::{MASTER, Safe, check, populate, release, serve};
use crate::cli::run;

#[test]
fn a_deployment_moves_to_a_server_and_back() {
    let safe = Safe::new();
    let node = Node::start();
    let before = populate(&node.client());
    // While it is served.
    let made = safe.backup(node.folder(), &[], "first");
    assert!(made["rows"].as_u64().unwrap() > 50 && made["damaged_rows"] == 0, "{made}");
    let mode = fs::metadata(safe.file("first")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(node);

    let postgres = Postgres::start();
    let url = postgres.url();
    let database = [("CLAVIGER_DATABASE__URL", url.as_str())];
    let folder = tempfile::tempdir().unwrap();
    let done = safe.restore(folder.path(), &database, ("first", &[])).json();
    assert_eq!((&done["backup_epoch"], &done["held_back"]), (&made["epoch"], &json!(true)), "{done}");
    assert!(done["epoch"].as_u64().unwrap() >> 32 > made["epoch"].as_u64().unwrap() >> 32, "{done}");
    assert!(done["replayed"]["rotated"].as_u64().unwrap() >= 3, "{done}");
    // A second time there is something.
    safe.restore(folder.path(), &database, ("first", &[])).refused("the database is not empty");
    let nodes = [cluster::node(&url, 0, &[]), cluster::node(&url, 1, &[])];
    for node in &nodes {
        check(&node.client(), &before);
    }
    release(&nodes[0].client());
    safe.backup(nodes[1].folder(), &database, "second");
    drop(nodes);

    let folder = tempfile::tempdir().unwrap();
    let back = safe.restore(folder.path(), &[], ("second", &[])).json();
    assert!(back["epoch"].as_u64().unwrap() > done["epoch"].as_u64().unwrap());
    let node = serve(folder);
    check(&node.client(), &before);
    release(&node.client());
    check(&node.client(), &before);
    node.client().post("/v1/tokens", &json!({"key": "es"})).expect(201);
    // It may have been spent since the backup.
    let refresh = json!({"refresh_token": before.pair["refresh_token"]});
    node.client().post("/v1/tokens/refresh", &refresh).refused(401, "token_invalid");
}

#[test]
fn a_recipient_is_enough_and_a_stream_is_a_file() {
    let safe = Safe::new();
    let node = Node::start();
    let before = populate(&node.client());
    let streamed =
        run(node.folder(), &["backup", "--output", "-", "--recipient", &safe.recipient], b"", &[MASTER]);
    assert_eq!(streamed.code, Some(0), "{}", streamed.error);
    fs::write(safe.file("command"), &streamed.output).unwrap();
    // The same from a route.
    let address = node.address().to_owned();
    let client = reqwest::blocking::Client::builder().tls_certs_only([]).build().unwrap();
    let answer = client
        .post(format!("http://{address}/v1/backups"))
        .bearer_auth(claviger_tests::node::TOKEN)
        .body(json!({"recipient": safe.recipient}).to_string())
        .send()
        .unwrap();
    assert_eq!(answer.status(), 200);
    fs::write(safe.file("route"), answer.bytes().unwrap()).unwrap();
    node.client().post("/v1/backups", &json!({})).refused(400, "invalid_request");
    node.client().post("/v1/backups", &json!({"recipient": "age1x"})).refused(400, "invalid_request");
    let events = node.client().get("/v1/audit?event=backup_created").expect(200);
    assert!(!events["items"].as_array().unwrap().is_empty(), "{events}");
    drop(node);
    for name in ["command", "route"] {
        let folder = tempfile::tempdir().unwrap();
        let (file, identity) = (safe.file(name), safe.file("identity"));
        let arguments = ["restore", "--input", &file, "--identity", &identity];
        run(folder.path(), &arguments, b"", &[MASTER]).json();
        check(&serve(folder).client(), &before);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let safe = Safe::new();
    let node = Node::start();
    safe.backup(node.folder(), &[], "file");
    let passphrase = safe.file("passphrase");
    let again = ["backup", "--output", &safe.file("file"), "--passphrase-file", &passphrase];
    run(node.folder(), &again, b"", &[MASTER]).refused("--output names a file that exists");
    run(node.folder(), &[&again[..], &["--force"]].concat(), b"", &[MASTER]).json();
    let nobody = ["backup", "--output", "x"];
    assert_eq!(run(node.folder(), &nobody, b"", &[MASTER]).code, Some(2));
    fs::write(safe.file("short"), "short").unwrap();
    let short = ["backup", "--output", "x", "--passphrase-file", &safe.file("short")];
    run(node.folder(), &short, b"", &[MASTER]).refused("the passphrase must have at least 8 bytes");
    // Of the deployment's own master nothing else takes the place.
    let folder = tempfile::tempdir().unwrap();
    let restore = ["restore", "--input", &safe.file("file"), "--passphrase-file", &passphrase];
    let other = ("CLAVIGER_SEAL__MASTER_KEY", "another-master-9876543210-zyxwvutsrqponmlkj");
    run(folder.path(), &restore, b"", &[other]).refused("the backup needs the master key of its deployment");
    run(folder.path(), &restore, b"", &[])
        .refused("seal.master_key: give the master key, or put it in data/master.key");
    fs::write(safe.file("wrong"), "correct horse battery stable").unwrap();
    let wrong = ["restore", "--input", &safe.file("file"), "--passphrase-file", &safe.file("wrong")];
    run(folder.path(), &wrong, b"", &[MASTER]).refused("the file does not open");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // Where somebody serves, nothing is restored.
    run(node.folder(), &restore, b"", &[MASTER])
        .refused("database.url: another process serves this database");
    let check = run(folder.path(), &[&restore[..], &["--check"]].concat(), b"", &[MASTER]).json();
    assert_eq!(
        (check["event"].as_str(), fs::read_dir(folder.path()).unwrap().count()),
        (Some("backup_whole"), 0)
    );
}

/// One key goes to another deployment, sealed on its way.
#[test]
fn a_key_moves_between_deployments() {
    let safe = Safe::new();
    let (here, there) = (Node::start(), Node::start());
    let on = |node: &Node, arguments: &[&str]| {
        let url = format!("http://{}", node.address());
        let environment = [("CLAVIGER_URL", url.as_str()), ("CLAVIGER_TOKEN", claviger_tests::node::TOKEN)];
        run(node.folder(), arguments, b"", &environment)
    };
    for (name, kind) in [("sealer", "aes256-gcm"), ("signer", "es256"), ("big", "rs256")] {
        here.client().post("/v1/keys", &json!({"name": name, "type": kind, "exportable": true})).expect(201);
        let exported = on(&here, &["keys", "export", name, "--recipient", &safe.recipient]).json();
        let (file, identity) = (safe.file(name), safe.file("identity"));
        fs::write(&file, exported.to_string()).unwrap();
        let import =
            ["keys", "import", name, "--type", kind, "--exported-file", &file, "--identity", &identity];
        on(&there, &import).json();
    }
    let sealed = here.client().post("/v1/keys/sealer/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    let opened = there.client().post("/v1/keys/sealer/decrypt", &json!({"ciphertext": sealed["ciphertext"]}));
    assert_eq!(opened.expect(200)["plaintext"], "aGk=");
    for name in ["signer", "big"] {
        let kid = |node: &Node| {
            node.client().get(&format!("/v1/keys/{name}/versions")).expect(200)["items"].clone()
        };
        let ours = kid(&here);
        let first = ours.as_array().unwrap().iter().find(|version| version["version"] == 1).unwrap();
        assert!(kid(&there).as_array().unwrap().iter().any(|version| version["kid"] == first["kid"]));
    }
    let other = Safe::new();
    let wrong = other.file("identity");
    let import = [
        "keys",
        "import",
        "x",
        "--type",
        "es256",
        "--exported-file",
        &safe.file("signer"),
        "--identity",
        &wrong,
    ];
    on(&there, &import).refused("the exported key does not open");
    here.client().post("/v1/keys", &json!({"name": "kept", "type": "es256"})).expect(201);
    on(&here, &["keys", "export", "kept", "--recipient", &safe.recipient]).refused("unsupported_operation");
}
