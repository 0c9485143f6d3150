//! WebSocket sessions, by a client in another language that was written from the description of the protocol alone.

mod crowds;
mod shutdown;
mod together;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use claviger_tests::{Node, node, proc, volume};

use crate::packages;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/ws")
}

fn python() -> PathBuf {
    packages::python(&folder().join("requirements.txt"), "ws")
}

/// Runs a script of the client against a node; answers with the names of what has passed.
fn run(name: &str, node: &Node, wanted: &[&str]) -> Vec<String> {
    let passed = packages::run(script(name, node).args(wanted));
    passed.lines().filter_map(|line| line.strip_prefix("ok ")).map(str::to_owned).collect()
}

/// A script of the client, for a node.
pub(crate) fn script(name: &str, node: &Node) -> Command {
    let mut command = Command::new(python());
    command.arg(folder().join(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("CLAVIGER_URL", format!("http://{}", node.address())).env("CLAVIGER_TOKEN", node::TOKEN);
    command
}

fn attack(node: &Node, name: &str) {
    assert_eq!(run("attacks.py", node, &[name]), [name]);
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

const LIMITED: (&str, &str) = ("CLAVIGER_AUTH__FAILED_ATTEMPTS", "10");

#[test]
fn every_row_of_the_protocol_holds() {
    let node = Node::with(&[("CLAVIGER_HTTP__CORS_ORIGINS", "https://console.example")]);
    let passed = run("protocol.py", &node, &[]);
    assert_eq!(passed.len(), 18, "{passed:?}");
    assert!(!node.log().contains("panicked"), "{}", node.log());
    // P5: no credential is in the log, nor in any record.
    let records: Vec<String> = node.records().iter().map(ToString::to_string).collect();
    for text in records.iter().chain([&node.log()]) {
        assert!(!text.contains(node::TOKEN) && !text.contains("clvd_"), "{text}");
    }
    assert!(records.iter().any(|record| record.contains("\"session.open\"")));
}

#[test]
fn a_captured_handshake_is_of_no_use() {
    attack(&Node::start(), "replay");
}

#[test]
fn whoever_fails_too_often_is_locked_out_and_nobody_else() {
    attack(&Node::with(&[LIMITED]), "locked_out");
}

#[test]
fn whoever_fails_too_often_over_http_is_locked_out_and_nobody_else() {
    attack(&Node::with(&[LIMITED]), "locked_out_http");
}

#[test]
fn sockets_that_say_nothing_are_bounded() {
    attack(&Node::start(), "half_open");
}

#[test]
fn handshakes_have_their_time() {
    attack(&Node::with(&[("CLAVIGER_WS__HANDSHAKE_TIMEOUT", "1s")]), "handshake_timeout");
}

/// Most that a node may hold after twice as many frames as before, in MiB: what is kept of each would be more.
const FLAT: f64 = 16.0;

#[test]
fn random_frames_do_no_harm_and_leave_nothing_behind() {
    let node = Node::start();
    let mut resident = Vec::new();
    for seed in ["7", "8"] {
        let frames = (volume(100_000) / 2).to_string();
        let mut command = script("attacks.py", &node);
        packages::run(command.arg("random_frames").envs([("FRAMES", frames.as_str()), ("SEED", seed)]));
        assert!(!node.log().contains("panicked"), "{}", node.log());
        resident.push(proc::resident(node.pid()));
    }
    assert!(resident[1] - resident[0] < FLAT, "{resident:?} MiB");
}

#[test]
fn announced_sizes_are_believed() {
    attack(&Node::start(), "announced_giant");
}

#[test]
fn a_client_that_reads_nothing_is_closed() {
    attack(&Node::start(), "jammed");
}

#[test]
fn a_client_that_reads_gets_all_it_has_asked_for() {
    attack(&Node::start(), "reading");
}

#[test]
fn the_password_lets_in_and_can_not_be_guessed() {
    attack_on_password("password");
}

/// Runs an attack on a node that knows a password.
fn attack_on_password(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "correct horse\n").unwrap();
    let file = file.display().to_string();
    attack(&Node::with(&[LIMITED, ("CLAVIGER_WS__PASSWORD_FILE", &file)]), name);
}

#[test]
fn trials_of_the_password_count_whoever_waits_for_them() {
    attack_on_password("abandoned_passwords");
}

#[test]
fn trials_of_the_password_count_however_many_come_at_once() {
    attack_on_password("guesses_at_once");
}

#[test]
fn sessions_of_one_principal_are_bounded() {
    attack(&Node::with(&[("CLAVIGER_WS__SESSIONS_PER_PRINCIPAL", "3")]), "of_one_principal");
}

#[test]
fn subscriptions_end_with_their_sessions() {
    attack(&Node::start(), "abandoned_subscriptions");
}

#[test]
fn trusted_proxies_say_who_calls_and_from_where() {
    let node = Node::with(&[
        LIMITED,
        ("CLAVIGER_AUTH__TRUSTED_PROXIES", "127.0.0.1"),
        ("CLAVIGER_AUTH__PROXY_USER_HEADER", "X-Forwarded-User"),
    ]);
    attack(&node, "proxied");
}

#[test]
fn devices_may_be_demanded() {
    attack(&Node::with(&[("CLAVIGER_WS__REQUIRE_DEVICE", "true")]), "require_device");
}

#[test]
fn local_requests_may_do_without_a_nonce_where_that_is_configured() {
    attack(&Node::with(&[("CLAVIGER_WS__LOCAL_WITHOUT_NONCE", "true")]), "lenient");
}
